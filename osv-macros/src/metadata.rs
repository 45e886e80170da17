//! Reads `[package.metadata.osv]` of the manifest.

use std::fs;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::Wishes;

/// What the manifest in `dir` says; nothing if there is none or it has no such table.
pub fn read(dir: &Path) -> Result<Wishes, String> {
    match fs::read_to_string(dir.join("Cargo.toml")) {
        Ok(text) => parse(&text),
        Err(_) => Ok(Wishes::default()),
    }
}

fn parse(text: &str) -> Result<Wishes, String> {
    let mut wishes = Wishes::default();
    // A manifest that is no TOML has been refused by cargo; who compiles without cargo has no metadata.
    let Ok(manifest) = DeTable::parse(text) else { return Ok(wishes) };
    let table = ["package", "metadata", "osv"]
        .iter()
        .try_fold(manifest.get_ref(), |table, key| table.get(*key)?.get_ref().as_table());
    for (key, value) in table.into_iter().flatten() {
        let values = values(value.get_ref()).ok_or_else(|| {
            format!("[package.metadata.osv]: `{}` must be a string, a number or a list of strings", key.get_ref())
        })?;
        wishes.set(key.get_ref(), values).map_err(|e| format!("[package.metadata.osv]: {e}"))?;
    }
    Ok(wishes)
}

fn values(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.clone().into_owned()]),
        DeValue::Integer(number) => Some(vec![number.as_str().replace('_', "")]),
        DeValue::Array(list) => list.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_found_among_others() {
        let text = "[package]\nname = 'x'\n[package.metadata.osv]\nmemory = '64M'\ncpus = 2\nfiles = ['a', 'b:/c']\n[dependencies]\n";
        let wishes = parse(text).unwrap();
        assert_eq!(wishes.lines(), "cpus=2\nmemory=64M\n");
        assert_eq!(wishes.files, ["a", "b:/c"]);
    }

    #[test]
    fn what_is_no_key_is_said() {
        assert!(parse("[package.metadata.osv]\ncolour = 'red'\n").unwrap_err().contains("colour"));
        assert!(parse("[package.metadata.osv]\nmemory = 1.5\n").is_err());
        assert!(parse("[package]\n").unwrap().lines().is_empty());
    }
}
