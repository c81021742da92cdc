//! Parses TOML, with line numbers.

use serde_json::Number;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::node::{Node, Value};
use crate::{Location, Origin, Problem};

pub(super) fn parse(text: &str, file: &Location) -> Result<Node, Vec<Problem>> {
    let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i).collect();
    let reader = Reader { text, newlines, file };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|e| reader.problem(e)).collect());
    }
    let mut problems = Vec::new();
    let value = reader.table(table.get_ref(), &mut problems);
    if problems.is_empty() { Ok(Node::new(value, file.clone().into())) } else { Err(problems) }
}

struct Reader<'a> {
    text: &'a str,
    /// The offset of each newline.
    newlines: Vec<usize>,
    file: &'a Location,
}

impl Reader<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = self.newlines.partition_point(|newline| *newline < offset);
        self.file.line(before.saturating_add(1)).into()
    }

    fn problem(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or_default();
        let said = error.message();
        let message = match self.text.get(span.clone()) {
            Some(key) if said.contains("duplicate key") => {
                format!("duplicate key `{}`", key.trim())
            }
            _ => format!("not valid TOML: {said}"),
        };
        Problem::new(message).at(self.at(span.start))
    }

    fn table(&self, table: &DeTable<'_>, problems: &mut Vec<Problem>) -> Value {
        let field = |(key, value): (&Spanned<_>, &Spanned<_>)| {
            let key: &Spanned<std::borrow::Cow<'_, str>> = key;
            let origin = self.at(key.span().start);
            (key.get_ref().to_string(), Node::new(self.value(value, &origin, problems), origin))
        };
        Value::Table(table.iter().map(field).collect())
    }

    fn value(
        &self,
        value: &Spanned<DeValue<'_>>,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Value {
        let mut number = |text: &str, number: Option<Number>| match number {
            Some(number) => Value::Number(number, text.to_owned()),
            None => {
                let message = format!("the number {text} cannot be represented");
                problems.push(Problem::new(message).at(at.clone()));
                Value::Null
            }
        };
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(i) => number(i.as_str(), integer(i.as_str(), i.radix())),
            DeValue::Float(f) => {
                number(f.as_str(), f.as_str().parse().ok().and_then(Number::from_f64))
            }
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(time) => Value::Text(time.to_string()),
            DeValue::Array(items) => {
                let item = |item: &Spanned<DeValue<'_>>| {
                    let origin = self.at(item.span().start);
                    Node::new(self.value(item, &origin, problems), origin)
                };
                Value::List(items.iter().map(item).collect())
            }
            DeValue::Table(table) => self.table(table, problems),
        }
    }
}

fn integer(digits: &str, radix: u32) -> Option<Number> {
    match i64::from_str_radix(digits, radix) {
        Ok(n) => Some(n.into()),
        Err(_) => u64::from_str_radix(digits, radix).ok().map(Into::into),
    }
}
