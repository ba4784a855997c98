//! Changing the configuration of a gate while it runs.

use std::fs;
use std::path::Path;

use toml::Table;

use super::{Gate, eventually};

/// Changes a gate's configuration file in one step.
pub(crate) fn edit(gate: &Gate, change: impl FnOnce(&mut Table)) {
    let path = gate.directory().join("ckgate.toml");
    let mut table: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    change(&mut table);
    replace(&path, &table.to_string());
}

/// Puts another text in the place of a file's, in one step.
pub(crate) fn replace(path: impl AsRef<Path>, text: &str) {
    let beside = path.as_ref().with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// A section of a configuration, which is made if need be.
pub(crate) fn section<'t>(table: &'t mut Table, name: &str) -> &'t mut Table {
    let section = table.entry(name).or_insert_with(|| Table::new().into());
    section.as_table_mut().unwrap()
}

/// The value of a metric without labels.
pub(crate) fn count(gate: &Gate, name: &str) -> u64 {
    let text = gate.admin_get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Tells the gate to read its configuration, and waits until it holds.
pub(crate) fn hang_up(gate: &Gate) {
    let before = count(gate, "ckgate_reloads_total");
    gate.signal("HUP");
    eventually("the configuration is taken up", || count(gate, "ckgate_reloads_total") > before);
}
