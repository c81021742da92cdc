//! Templates for lines about jobs, in docker's form: `{{.ID}} {{.Name}}`.

/// A template, or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    Json,
    Line(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Field(Field),
}

/// A field of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Id,
    Name,
    Command,
    Image,
    Runner,
    State,
    Age,
    Outcome,
    Submitted,
    Labels,
}

const FIELDS: [(&str, Field); 10] = [
    ("ID", Field::Id),
    ("Name", Field::Name),
    ("Command", Field::Command),
    ("Image", Field::Image),
    ("Runner", Field::Runner),
    ("State", Field::State),
    ("Age", Field::Age),
    ("Outcome", Field::Outcome),
    ("Submitted", Field::Submitted),
    ("Labels", Field::Labels),
];

impl Template {
    /// Parses `json`, or text with fields. `\t` and `\n` are a tab and a newline.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "json" {
            return Ok(Self::Json);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (inside, after) = after.split_once("}}").ok_or("a `{{` is not closed by `}}`")?;
            parts.push(Part::Text(unescaped(before)));
            parts.push(Part::Field(field(inside.trim())?));
            rest = after;
        }
        parts.push(Part::Text(unescaped(rest)));
        Ok(Self::Line(parts))
    }
}

fn unescaped(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn field(text: &str) -> Result<Field, String> {
    let name = text.strip_prefix('.').unwrap_or(text);
    let found = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, field)| *field).ok_or_else(|| {
        let known = FIELDS.map(|(known, _)| known).join(", ");
        format!("there is no field `{text}`: use {known}, each as {{{{.ID}}}}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_text_and_fields() {
        let text = |text: &str| Part::Text(text.to_owned());
        let expected = vec![
            text("a "),
            Part::Field(Field::Id),
            text("\t"),
            Part::Field(Field::Name),
            text(""),
        ];
        assert_eq!(Template::parse("a {{.ID}}\\t{{ .Name }}"), Ok(Template::Line(expected)));
        assert_eq!(Template::parse("json"), Ok(Template::Json));
        assert!(Template::parse("{{.Nmae}}").unwrap_err().contains("Name"));
        assert!(Template::parse("{{.ID").unwrap_err().contains("}}"));
    }
}
