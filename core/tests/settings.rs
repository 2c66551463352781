//! The table of settings is the one that the other languages compare theirs with.

use serde_json::{Value, json};
use wse_client_core::settings::{SETTINGS, Set};

const SHARED: &str = include_str!("../../tests/vectors/settings.json");

#[test]
fn the_table_is_the_one_of_every_language() {
    let shared: Value = serde_json::from_str(SHARED).expect("JSON");
    let ours: Vec<Value> = SETTINGS
        .iter()
        .map(|setting| {
            let (holds, words) = held(&setting.set);
            let mut row =
                json!({"field": setting.field, "option": setting.option, "keyword": setting.keyword, "holds": holds});
            if !words.is_empty() {
                row["words"] = json!(words);
            }
            row
        })
        .collect();
    assert_eq!(shared["settings"], json!(ours), "tests/vectors/settings.json differs from core/src/settings.rs");
}

fn held(set: &Set) -> (&'static str, &'static [&'static str]) {
    match set {
        Set::Flag(_) => ("Flag", &[]),
        Set::Count(_) => ("Count", &[]),
        Set::Limit(_) => ("Limit", &[]),
        Set::Number(_) => ("Number", &[]),
        Set::Length(_) => ("Length", &[]),
        Set::MaybeLength(_) => ("MaybeLength", &[]),
        Set::Choice(words, _) => ("Choice", words),
        Set::Text(_) => ("Text", &[]),
        Set::Texts(_) => ("Texts", &[]),
    }
}
