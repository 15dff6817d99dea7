//! Counters that know their names.

/// A struct of counters, each a `u64`, whose `iter` gives them with their names as metrics and summaries spell
/// them: `gaps` is `gaps_total`.
#[macro_export]
macro_rules! counters {
    ($(#[$attribute:meta])* pub struct $name:ident {
        $( $(#[$field_attribute:meta])* $field:ident, )*
    }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_attribute])* pub $field: u64, )* }

        impl $name {
            /// Every counter with its name, as metrics and summaries spell it.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$( (concat!(stringify!($field), "_total"), self.$field), )*].into_iter()
            }
        }
    };
}
