//! Models beside a running engine: what they say is in its windows and its log, and what they do wrong is
//! counted by name and harms nobody.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use cobring_tests::{
    Engine, Frame, Market, Model, SOON, Said, Setup, Sim, Watch, assert_replays_to, cobring,
    wait_until,
};
use serde_json::Value;
use toml::Table;

/// Simulator, engine and a reader, with the models cnn (two probabilities) and policy (one output).
struct Stage {
    setup: Setup,
    watch: Watch,
    engine: Engine,
    _sim: Sim,
}

impl Stage {
    fn start(layout: &str) -> Self {
        let sim = Sim::start(&Market::Seed(7));
        let mut setup = Setup::of(&sim).with("engine.layout", layout);
        let table = |text: &str| text.parse::<Table>().unwrap();
        setup.add_model("cnn", table("outputs = 2\nsum_to_one = true"));
        setup.add_model("policy", table("symbols = [\"ETHUSDT\"]"));
        let watch = Watch::start_named(setup.shared_memory_dir(), "ETHUSDT", "watcher-1");
        let engine = setup.run();
        watch.wait_live();
        Self { setup, watch, engine, _sim: sim }
    }

    fn model(&self, name: &str) -> Model {
        Model::open(self.setup.shared_memory_dir(), "ETHUSDT", name)
    }

    /// A frame that comes after now.
    fn next_frame(&self) -> Frame {
        let seq = self.watch.last().unwrap().seq;
        self.watch.wait_last("the next frame", SOON, |frame| frame.seq > seq);
        self.watch.last().unwrap()
    }

    /// Rows of a model's window, as the newest frame has them.
    fn rows(&self, model: &str) -> u64 {
        let frame = self.setup.show("ETHUSDT").succeeded().json();
        // Told by the schema, whatever block the name is nested in.
        let cursor = &frame["cursors"]["models"][model];
        cursor[0].as_u64().unwrap_or_else(|| panic!("{model}: {}", frame["cursors"]))
    }
}

/// What the log holds of a model.
fn outputs(setup: &Setup, model: &str) -> Vec<Value> {
    let files = setup.log_files();
    let mut args = vec!["outputs".to_owned(), model.to_owned(), "--jsonl".to_owned()];
    args.extend(files.iter().map(|file| file.to_str().unwrap().to_owned()));
    let text = cobring(args).succeeded().stdout;
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn counts(report: &Value, model: &str) -> Vec<(String, u64)> {
    let counters = report["models"]["ETHUSDT"][model].as_object().unwrap();
    let counters = counters.iter().map(|(name, count)| (name.clone(), count.as_u64().unwrap()));
    counters.filter(|(_, count)| *count > 0).collect()
}

fn count(report: &Value, model: &str, name: &str) -> u64 {
    report["models"]["ETHUSDT"][model][name].as_u64().unwrap()
}

fn check(layout: &str) {
    let stage = Stage::start(layout);
    let (mut cnn, mut policy) = (stage.model("cnn"), stage.model("policy"));
    let good = Said::outputs(&[0.25, 0.75]);

    // Two models that behave; each answer is to a frame of its own.
    for turn in 0..5_u8 {
        let frame = stage.next_frame();
        cnn.publish(&frame, &Said { value: Some(1.5), action: Some(turn.into()), ..good.clone() });
        policy.publish(&frame, &Said { state: vec![f32::from(turn); 3], ..Said::outputs(&[9.0]) });
    }
    wait_until("five rows", SOON, || stage.rows("cnn") == 5 && stage.rows("policy") == 5);

    // One that says nonsense, and is cut.
    for said in [
        Said::outputs(&[f32::NAN, 1.0]),
        Said { value: Some(f64::INFINITY), ..good.clone() },
        Said::outputs(&[1.0]),
        Said::outputs(&[0.5, 0.75]),
    ] {
        cnn.publish(&stage.next_frame(), &said);
    }
    let mut frame = stage.next_frame();
    frame.input_seq += 1;
    cnn.publish(&frame, &good);
    frame.epoch -= 1;
    cnn.publish(&frame, &good);
    frame = stage.next_frame();
    cnn.publish(&frame, &good);
    cnn.publish(&frame, &good);
    wait_until("the sixth row", SOON, || stage.rows("cnn") == 6);
    cnn.cut(0);
    // The engine looks at each file ten times a second.
    let path = Model::path(stage.setup.shared_memory_dir(), "ETHUSDT", "cnn");
    wait_until("the file is repaired", SOON, || path.metadata().unwrap().len() == 28_672);
    let mut cnn = stage.model("cnn");
    cnn.publish(&stage.next_frame(), &good);
    wait_until("the seventh row", SOON, || stage.rows("cnn") == 7);

    // A flood for three seconds.
    let begun = Instant::now();
    let mut floods = 0_u32;
    while begun.elapsed() < Duration::from_secs(3) {
        let frame = stage.watch.last().unwrap();
        for _ in 0..20 {
            policy.publish(&frame, &Said::outputs(&[0.0]));
            floods += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(f64::from(floods) / 3.0 > 5_000.0, "{floods} outputs in 3 s are no flood");

    let subscribers = cobring([
        "shm",
        "ls",
        "--json",
        "--dir",
        stage.setup.shared_memory_dir().to_str().unwrap(),
    ]);
    let segments = subscribers.succeeded().json();
    let ethusdt = segments.as_array().unwrap().iter().find(|one| one["symbol"] == "ETHUSDT");
    let watcher = &ethusdt.unwrap()["subscribers"][0];
    assert_eq!((&watcher["name"], &watcher["alive"]), (&"watcher-1".into(), &true.into()));
    assert_eq!(watcher["pid"], stage.watch.process.id());
    assert!(watcher["last_seq"].as_u64() > Some(10), "{watcher}");

    let Stage { setup, engine, .. } = stage;
    let report = engine.stop();
    let wanted = [
        ("accepted_total", 7),
        ("not_finite_total", 2),
        ("processes_total", 1),
        ("repeated_total", 1),
        ("truncated_total", 1),
        ("unknown_frame_total", 2),
        ("wrong_size_total", 1),
        ("wrong_sum_total", 1),
    ];
    let mut found = counts(&report, "cnn");
    found.sort();
    assert_eq!(found, wanted.map(|(name, count)| (name.to_owned(), count)));
    let taken = count(&report, "policy", "accepted_total");
    assert!(taken > 5 && taken <= 5 + 400, "{}", report["models"]);
    // Every output is accounted for, but for those that the end left in the file's 64 slots.
    let counted = counts(&report, "policy");
    // A model that was silent for too long, as on a busy host, and one that came are no outputs. This one takes no lock: an
    // output that it was writing when the engine looked who lives is torn, and counts again once it is whole.
    let of_models = ["processes_total", "stalled_total", "torn_total"];
    let is_of_outputs = |name: &str| !of_models.contains(&name);
    let counted = counted.iter().filter(|(name, _)| is_of_outputs(name));
    let counted: u64 = counted.map(|(_, count)| count).sum();
    let left = policy.published() - counted;
    assert!(left <= 64, "{left} of {}: {}", policy.published(), report["models"]);
    assert_eq!(report["symbols"]["ETHUSDT"]["counters"]["model_outputs_total"], 7 + taken);
    assert_eq!(report["models"]["BTCUSDT"]["policy"], Value::Null);

    // The log holds what was taken, and nothing else; its replay gives the same frames.
    assert_eq!(report["log"]["complete"], true);
    assert_replays_to(&report["hash"], &setup.log_files());
    let said = outputs(&setup, "cnn");
    assert_eq!(said.len(), 7);
    assert_eq!(said[3]["action"], 3);
    assert_eq!((&said[3]["value"], &said[6]["value"]), (&1.5.into(), &Value::Null));
    assert_eq!(said[3]["outputs"], serde_json::json!([0.25, 0.75]));
    let said = outputs(&setup, "policy");
    assert_eq!(said.len() as u64, taken);
    assert_eq!(said[4]["state"], serde_json::json!([4.0, 4.0, 4.0]));
    let times: Vec<i64> = said.iter().map(|said| said["ts_recv"].as_i64().unwrap()).collect();
    for second in times.windows(101) {
        assert!(second[100] - second[0] >= 999_000_000, "more than 100 in a second");
    }
    let answered: Vec<u64> = said.iter().map(|said| said["seq"].as_u64().unwrap()).collect();
    assert!(answered.windows(2).all(|pair| pair[0] < pair[1]), "one output a frame");
}

#[test]
fn what_models_say_and_do_fused() {
    check("fused");
}

#[test]
fn what_models_say_and_do_staged() {
    check("staged");
}
