//! Payloads of the protocol's own messages: read member by member, written member by member.
//!
//! A client reads and writes a dozen small shapes. One walk over the text serves all of them, where a parser made for
//! each shape would be a good part of what a browser downloads.

use std::borrow::Cow;

use super::{
    Payload, PayloadEncoding,
    json::{self, Member},
    number,
};

/// A JSON value that passed the checks of [`json`]: its text, without space around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    /// The payload as JSON text in `text`, see [`Payload::to_json`].
    pub(crate) fn new(text: &'a str) -> Self {
        Self(text.trim_ascii())
    }

    /// The JSON text.
    pub(crate) const fn as_json(self) -> &'a str {
        self.0
    }

    /// A member of an object; `None` when there is none of that name, or when this is no object.
    ///
    /// Of several members of one name the last counts.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        let mut found = None;
        json::each_member(self.0.as_bytes(), |member| {
            if member.name() == name {
                found = self.part(&member);
            }
        });
        found
    }

    /// All members of an object, in their order; none when this is no object.
    pub(crate) fn members(self) -> Vec<(String, Self)> {
        let mut members = Vec::new();
        json::each_member(self.0.as_bytes(), |member| {
            members.extend(self.part(&member).map(|value| (member.name().into_owned(), value)));
        });
        members
    }

    fn part(self, member: &Member<'_>) -> Option<Self> {
        self.0.get(member.value.clone()).map(Self)
    }

    /// The items of an array; `None` when this is no array.
    pub(crate) fn items(self) -> Option<Vec<Self>> {
        let spans = json::items(self.0.as_bytes(), usize::MAX)?;
        Some(spans.into_iter().filter_map(|span| self.0.get(span).map(Self)).collect())
    }

    /// Reads a member that may be missing or `null`. The outer `None` says that it is there and not of that kind.
    pub(crate) fn optional<T>(self, name: &str, read: impl FnOnce(Self) -> Option<T>) -> Option<Option<T>> {
        match self.member(name) {
            None | Some(Self("null")) => Some(None),
            Some(value) => read(value).map(Some),
        }
    }

    /// This value, if it is an object.
    pub(crate) fn object(self) -> Option<Self> {
        self.0.starts_with('{').then_some(self)
    }

    /// The text of a string.
    pub(crate) fn text(self) -> Option<String> {
        let content = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(json::unescape(content.as_bytes()))
    }

    /// A whole number of zero or more that fits.
    pub(crate) fn unsigned(self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// A number.
    pub(crate) fn number(self) -> Option<f64> {
        self.0.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| number::parse(self.0))
    }

    /// `true` or `false`.
    pub(crate) fn truth(self) -> Option<bool> {
        self.0.parse().ok()
    }
}

/// An object that is being written.
pub(crate) struct Object(Vec<u8>);

impl Object {
    pub(crate) fn new() -> Self {
        Self(Vec::from(b"{"))
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        json::write_string(name, &mut self.0);
        self.0.push(b':');
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        json::write_string(value, &mut self.0);
        self
    }

    /// A string, unless there is none.
    pub(crate) fn optional_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(crate) fn unsigned(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        json::write_unsigned(value, &mut self.0);
        self
    }

    /// A number, unless there is none.
    pub(crate) fn optional_unsigned(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.unsigned(name, value),
            None => self,
        }
    }

    pub(crate) fn truth(self, name: &str, value: bool) -> Self {
        self.json(name, if value { "true" } else { "false" })
    }

    /// A value that is JSON text already.
    pub(crate) fn json(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    /// Any number; `null` when there is none, or none that JSON has.
    pub(crate) fn number(mut self, name: &str, value: Option<f64>) -> Self {
        let Some(value) = value.filter(|value| value.is_finite()) else { return self.json(name, "null") };
        self.name(name);
        number::write(value, &mut self.0);
        self
    }

    pub(crate) fn texts<T: AsRef<str>>(self, name: &str, values: &[T]) -> Self {
        self.array(name, values, |value, out| json::write_string(value.as_ref(), out))
    }

    pub(crate) fn objects(self, name: &str, values: &[Self]) -> Self {
        self.array(name, values, |value, out| {
            out.extend_from_slice(&value.0);
            out.push(b'}');
        })
    }

    fn array<T>(mut self, name: &str, values: &[T], write: impl Fn(&T, &mut Vec<u8>)) -> Self {
        self.name(name);
        let mut before = b'[';
        for value in values {
            self.0.push(before);
            write(value, &mut self.0);
            before = b',';
        }
        self.0.extend_from_slice(if values.is_empty() { b"[]" } else { b"]" });
        self
    }

    /// An object, unless it is empty.
    pub(crate) fn filled(mut self, name: &str, value: Self) -> Self {
        if value.0.len() > 1 {
            self = self.object(name, value);
        }
        self
    }

    pub(crate) fn object(mut self, name: &str, value: Self) -> Self {
        self.name(name);
        self.0.extend_from_slice(&value.0);
        self.0.push(b'}');
        self
    }

    /// The whole of it.
    pub(crate) fn into_payload(mut self) -> Payload {
        self.0.push(b'}');
        Payload::whole(PayloadEncoding::Json, self.0.into())
    }

    /// The same as text.
    pub(crate) fn into_json(self) -> String {
        self.into_payload().to_json().into_owned()
    }
}

impl Payload {
    /// Reads the payload of a message of the protocol itself. `None` when `read` finds something that it does not
    /// understand. msgpack is read by way of JSON: such messages hold no binary strings.
    pub(crate) fn read_control<T>(&self, read: impl FnOnce(Value<'_>) -> Option<T>) -> Option<T> {
        let text: Cow<'_, str> = self.to_json();
        read(Value::new(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_kind() {
        let text = r#" { "a" : "x\n\u00e9" , "n":12,"f":-1.5e1,"t":true,"z":null,"l":[1, "b" ,{}],"o":{"a":1} } "#;
        let value = Value::new(text);
        assert_eq!(value.member("a").and_then(Value::text).as_deref(), Some("x\né"));
        assert_eq!(value.member("n").and_then(Value::unsigned), Some(12));
        assert_eq!(value.member("f").and_then(Value::number), Some(-15.0));
        assert_eq!(value.member("f").and_then(Value::unsigned), None);
        assert_eq!(value.member("t").and_then(Value::truth), Some(true));
        assert_eq!(value.member("t").and_then(Value::number), None);
        let items = value.member("l").and_then(Value::items).expect("an array");
        assert_eq!(items.iter().map(|item| item.as_json()).collect::<Vec<_>>(), ["1", "\"b\"", "{}"]);
        assert_eq!(value.member("o").and_then(Value::object).and_then(|o| o.member("a")?.unsigned()), Some(1));
        assert_eq!(value.members().len(), 7);
        assert!(value.items().is_none() && value.member("missing").is_none());
        assert!(value.member("l").and_then(Value::object).is_none());
    }

    #[test]
    fn a_missing_member_is_told_from_a_strange_one() {
        let value = Value::new(r#"{"a":1,"z":null,"\u0062":"c"}"#);
        assert_eq!(value.optional("a", Value::text), None);
        assert_eq!(value.optional("z", Value::text), Some(None));
        assert_eq!(value.optional("y", Value::text), Some(None));
        assert_eq!(value.optional("b", Value::text), Some(Some("c".to_owned())), "a name may be escaped");
        assert_eq!(Value::new(r#"{"a":1,"a":2}"#).member("a").and_then(Value::unsigned), Some(2));
        assert!(Value::new("[]").members().is_empty());
    }

    #[test]
    fn what_is_written_is_json() {
        let inner = Object::new().unsigned("n", 7);
        let payload = Object::new()
            .text("a\"b", "\n")
            .truth("t", false)
            .texts::<&str>("none", &[])
            .objects("things", &[Object::new().truth("x", true), Object::new()])
            .number("number", Some(2.5))
            .number("infinite", Some(f64::INFINITY))
            .number("absent", None)
            .texts("two", &["x".to_owned(), "y".to_owned()])
            .filled("empty", Object::new())
            .filled("full", inner)
            .optional_text("left out", None)
            .json("raw", "[1]")
            .into_payload();
        assert_eq!(
            payload.to_json(),
            r#"{"a\"b":"\n","t":false,"none":[],"things":[{"x":true},{}],"number":2.5,"infinite":null,"absent":null,"two":["x","y"],"full":{"n":7},"raw":[1]}"#
        );
        assert_eq!(Object::new().into_payload(), Payload::EMPTY);
    }
}
