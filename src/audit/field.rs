/// The name of a field, as each format of the log begins it.
#[derive(Clone, Copy, Debug)]
pub struct FieldName {
    /// `,"name":"`
    pub json: &'static str,
    /// ` name="`
    pub text: &'static str,
}

/// The fields of one line of the log.
pub trait Fields {
    /// A text of the gate's own, in ASCII: nothing in it needs to be escaped.
    fn known(&mut self, name: FieldName, value: &[u8]);
    /// Texts of the gate's own, separated by commas.
    fn list(&mut self, name: FieldName, values: impl Iterator<Item = &'static str>);
    /// Any text.
    fn text(&mut self, name: FieldName, value: &str);
    /// A number.
    fn number(&mut self, name: FieldName, value: u64);
    /// Yes or no.
    fn flag(&mut self, name: FieldName, value: bool);
}

macro_rules! name {
    ($name:literal) => {
        FieldName { json: concat!(",\"", $name, "\":\""), text: concat!(" ", $name, "=\"") }
    };
}

impl FieldName {
    /// The name alone.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.text.trim_start_matches(' ').trim_end_matches("=\"")
    }
}

pub(super) use name;
