//! `[model_defaults]` and `[models.*]`: whose outputs the engine takes, and what is asked of them.

use cobring_frame::{MODEL_OUTPUTS_MAX, MODELS_MAX, ModelRules};
use cobring_market::SymbolConfig;
use cobring_types::ModelShape;
use toml::de::DeValue;

use super::read::Section;
use super::rules::{boolean, integer, millis};
use super::{ModelDefaults, ModelSettings};

/// A model as the file has it: its symbols are checked once those are known.
pub(super) struct ModelTable<'s, 'd> {
    table: Section<'s, 'd>,
    name: String,
    /// Empty: all.
    symbols: Vec<String>,
    rules: ModelRules,
}

pub(super) fn model_defaults(
    mut table: Section<'_, '_>,
    base: Option<ModelDefaults>,
) -> ModelDefaults {
    let defaults = keys(&mut table, base);
    let sound = table.is_sound();
    table.finish();
    if sound { defaults } else { base.unwrap_or(defaults) }
}

/// The keys that both `[model_defaults]` and a model's table may have.
fn keys(table: &mut Section<'_, '_>, base: Option<ModelDefaults>) -> ModelDefaults {
    let keys = ModelDefaults {
        outputs: table.get(
            "outputs",
            base.map(|base| base.outputs),
            integer(0..=MODEL_OUTPUTS_MAX),
        ),
        sum_to_one: table.get("sum_to_one", base.map(|base| base.sum_to_one), boolean),
        age_max: table.get("max_age_ms", base.map(|base| base.age_max), millis(1..=60_000)),
        rate_per_s: table.get("rate_per_s", base.map(|base| base.rate_per_s), integer(1..=100)),
    };
    if table.is_sound() && keys.sum_to_one && keys.outputs == 0 {
        let key = if table.has("sum_to_one") { "sum_to_one" } else { "outputs" };
        table.refuse(key, "no outputs sum to 1: outputs must be above 0 where sum_to_one is true");
    }
    keys
}

/// The models, in order of their names.
pub(super) fn tables<'s, 'd>(
    mut models: Section<'s, 'd>,
    defaults: ModelDefaults,
) -> Vec<ModelTable<'s, 'd>> {
    let tables = models.sections("NAME");
    if tables.len() > MODELS_MAX {
        let found = tables.len();
        models.refuse_name(&format!("{found} models, at most {MODELS_MAX} are possible"));
        return Vec::new();
    }
    let mut models: Vec<_> =
        tables.into_iter().map(|(name, table)| model(name, table, defaults)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models
}

fn model<'s, 'd>(
    name: String,
    mut table: Section<'s, 'd>,
    defaults: ModelDefaults,
) -> ModelTable<'s, 'd> {
    if !cobring_frame::is_model_name(&name) {
        table.refuse_name("must have 1 to 32 of A-Z a-z 0-9 _ -");
    }
    let symbols = table.get("symbols", Some(Vec::new()), symbol_names);
    let keys = keys(&mut table, Some(defaults));
    let shape = ModelShape { outputs: keys.outputs, sum_to_one: keys.sum_to_one };
    let rules = ModelRules { shape, age_max: keys.age_max, rate_per_s: keys.rate_per_s };
    ModelTable { table, name, symbols, rules }
}

fn symbol_names(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let names: Option<Vec<String>> = value.as_array().and_then(|names| {
        names.iter().map(|name| name.get_ref().as_str().map(str::to_owned)).collect()
    });
    names
        .filter(|names| !names.is_empty())
        .filter(|names| names.iter().enumerate().all(|(at, name)| !names[..at].contains(name)))
        .ok_or_else(|| {
            "must be a list of symbols, each once, such as [\"ETHUSDT\"]; left out for all"
                .to_owned()
        })
}

/// Names of the models whose outputs a symbol takes.
pub(super) fn of_symbol(models: &[ModelTable<'_, '_>], symbol: &str) -> Vec<String> {
    let takes = |model: &&ModelTable<'_, '_>| {
        model.symbols.is_empty() || model.symbols.iter().any(|name| name == symbol)
    };
    models.iter().filter(takes).map(|model| model.name.clone()).collect()
}

/// The models with their symbols, which must be among those that the file names.
pub(super) fn settle(
    models: Vec<ModelTable<'_, '_>>,
    names: &[String],
    symbols: &[SymbolConfig],
) -> Vec<ModelSettings> {
    let settle = |model: ModelTable<'_, '_>| {
        let ModelTable { mut table, name, symbols: wanted, rules } = model;
        if let Some(unknown) = wanted.iter().find(|wanted| !names.contains(wanted)) {
            table.refuse("symbols", &format!("there is no [symbols.{unknown}]"));
        }
        table.finish();
        let symbols = symbols.iter().filter(|symbol| symbol.models.contains(&name));
        let symbols = symbols.map(|symbol| symbol.instrument.symbol).collect();
        ModelSettings { name, symbols, rules }
    };
    models.into_iter().map(settle).collect()
}
