//! Evaluates licence expressions, as in a crate's `license` field.

/// A parsed licence expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// A licence, with its exception if it has one: `Apache-2.0 WITH LLVM-exception`.
    Licence(String),
    /// The user chooses one of them.
    Any(Vec<Expression>),
    /// Each of them applies.
    All(Vec<Expression>),
}

impl Expression {
    /// Parses an SPDX expression. A `/` means `OR`, as in crates from before SPDX.
    ///
    /// # Errors
    /// Says what is wrong if `text` is not an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let mut words = Words { rest: spaced.split_whitespace().collect(), at: 0 };
        let expression = words.any()?;
        match words.next() {
            None => Ok(expression),
            Some(word) => Err(format!("{word:?} follows a complete expression")),
        }
    }

    /// Returns whether the `allowed` licences are enough to use the crate.
    pub(crate) fn is_met(&self, allowed: &[impl AsRef<str>]) -> bool {
        match self {
            Self::Licence(name) => allowed.iter().any(|it| it.as_ref() == name),
            Self::Any(parts) => parts.iter().any(|part| part.is_met(allowed)),
            Self::All(parts) => parts.iter().all(|part| part.is_met(allowed)),
        }
    }

    /// Returns whether the expression names the licence anywhere.
    pub(crate) fn names(&self, licence: &str) -> bool {
        match self {
            Self::Licence(name) => name == licence,
            Self::Any(parts) | Self::All(parts) => parts.iter().any(|part| part.names(licence)),
        }
    }
}

/// The words of an expression, and the position of the next one.
struct Words<'a> {
    rest: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.rest.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    /// Consumes the next word if it is `expected`.
    fn take(&mut self, expected: &str) -> bool {
        let found = self.rest.get(self.at) == Some(&expected);
        self.at += usize::from(found);
        found
    }

    /// `AND` binds more tightly than `OR`.
    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.take("OR") {
            parts.push(self.all()?);
        }
        Ok(single(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.take("AND") {
            parts.push(self.one()?);
        }
        Ok(single(parts, Expression::All))
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.take("(") {
            let inner = self.any()?;
            return match self.take(")") {
                true => Ok(inner),
                false => Err("a parenthesis does not close".to_owned()),
            };
        }
        let name = self.name()?;
        match self.take("WITH") {
            true => Ok(Expression::Licence(format!("{name} WITH {}", self.name()?))),
            false => Ok(Expression::Licence(name.to_owned())),
        }
    }

    fn name(&mut self) -> Result<&'a str, String> {
        match self.next() {
            None => Err("it ends where a licence must follow".to_owned()),
            Some(word) if ["AND", "OR", "WITH", "(", ")"].contains(&word) => {
                Err(format!("{word:?} is where a licence must be"))
            }
            Some(word) => Ok(word),
        }
    }
}

fn single(mut parts: Vec<Expression>, several: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            several(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(text: &str, allowed: &[&str]) -> bool {
        Expression::parse(text).unwrap().is_met(allowed)
    }

    #[test]
    fn one_allowed_licence_of_a_choice_is_enough_and_of_a_sum_is_not() {
        for (text, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only/MIT", true),
            ("GPL-3.0-only AND MIT", false),
            ("ISC AND MIT", true),
            // AND first: the choice is between ISC, and MIT with GPL.
            ("ISC OR MIT AND GPL-3.0-only", true),
            ("GPL-3.0-only OR MIT AND GPL-2.0-only", false),
            ("(ISC OR GPL-3.0-only) AND MIT", true),
            ("ISC AND (GPL-3.0-only OR GPL-2.0-only)", false),
        ] {
            assert_eq!(met(text, &["MIT", "ISC"]), expected, "{text}");
        }
    }

    #[test]
    fn an_exception_or_a_plus_makes_another_licence() {
        assert!(!met("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]));
        assert!(!met("Apache-2.0", &["Apache-2.0 WITH LLVM-exception"]));
        assert!(met("(Apache-2.0  WITH LLVM-exception)", &["Apache-2.0 WITH LLVM-exception"]));
        assert!(!met("Apache-2.0+", &["Apache-2.0"]));
    }

    #[test]
    fn what_is_no_expression_is_an_error_and_never_allowed() {
        for text in ["", "MIT OR", "OR MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "()"] {
            assert!(Expression::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_licence_is_named_wherever_it_is() {
        let parsed = Expression::parse("(MIT OR ISC) AND Zlib").unwrap();
        assert!(["MIT", "ISC", "Zlib"].iter().all(|name| parsed.names(name)));
        assert!(!parsed.names("BSD-3-Clause"));
    }
}
