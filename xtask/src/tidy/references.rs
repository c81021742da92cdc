//! The references of a Rust file to modules of its own crate.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The names of a path, from the root of the crate.
pub(crate) type ModulePath = Vec<String>;

/// What a file refers to. Code under `#[cfg(test)]` does not count.
#[derive(Debug, Default)]
pub(crate) struct References {
    /// All paths in the file. Those that begin with a plain name begin here with the file's own
    /// module, because a child module, an import or another crate may have that name.
    pub(crate) paths: Vec<ModulePath>,
    /// The names that the file imports, with the path of each. Other files may import them from
    /// this one.
    pub(crate) imports: BTreeMap<String, ModulePath>,
}

impl References {
    /// Reads `text`, the file of `module`.
    ///
    /// # Errors
    /// If the text is not Rust.
    pub(crate) fn read(module: &[String], text: &str) -> Result<Self> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
        let mut scan = Scan { module: module.to_vec(), found: Self::default() };
        scan.tokens(&tokens.into_iter().collect::<Vec<_>>());
        Ok(scan.found)
    }
}

struct Scan {
    /// The module that the tokens belong to.
    module: ModulePath,
    found: References,
}

impl Scan {
    fn tokens(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            at = if is_test_attribute(&tokens[at..]) {
                at + item(&tokens[at..])
            } else {
                at + self.token(&tokens[at..])
            };
        }
    }

    /// Reads what `tokens` begin with. Returns the number of its tokens.
    fn token(&mut self, tokens: &[TokenTree]) -> usize {
        match tokens {
            [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Group(body), ..]
                if word == "mod" =>
            {
                self.module.push(name.to_string());
                self.tokens(&inside(body));
                self.module.pop();
                3
            }
            [TokenTree::Ident(word), path @ ..] if word == "use" => {
                let mut imports = BTreeMap::new();
                let read = self.path(path, None, &mut imports);
                self.found.imports.extend(imports);
                1 + read
            }
            [TokenTree::Ident(_), rest @ ..] if is_separator(rest) => {
                self.path(tokens, None, &mut BTreeMap::new())
            }
            [TokenTree::Group(group), ..] => {
                self.tokens(&inside(group));
                1
            }
            _ => 1,
        }
    }

    /// Reads a path, or the tree of paths of a `use`, below `base`. Adds the names that it imports
    /// to `imports`. Returns the number of tokens.
    fn path(
        &mut self,
        tokens: &[TokenTree],
        base: Option<&[String]>,
        imports: &mut BTreeMap<String, ModulePath>,
    ) -> usize {
        match tokens {
            [TokenTree::Ident(name), rest @ ..] => {
                let path = self.join(base, &name.to_string());
                if is_separator(rest) {
                    return 3 + self.path(&rest[2..], Some(&path), imports);
                }
                let (name, read) = match rest {
                    [TokenTree::Ident(word), TokenTree::Ident(alias), ..] if word == "as" => {
                        (alias, 3)
                    }
                    _ => (name, 1),
                };
                // `use a::{self}` imports `a`.
                let name =
                    if name == "self" { path.last().cloned() } else { Some(name.to_string()) };
                imports.extend(name.map(|name| (name, path.clone())));
                self.found.paths.push(path);
                read
            }
            [TokenTree::Group(group), ..] if group.delimiter() == Delimiter::Brace => {
                let inside = inside(group);
                for branch in inside.split(|token| is_punct(token, ',')) {
                    if !branch.is_empty() {
                        self.path(branch, base, imports);
                    }
                }
                1
            }
            // `*`, or the generic arguments of an expression.
            _ => {
                self.found.paths.extend(base.map(<[String]>::to_vec));
                0
            }
        }
    }

    /// Returns `base` followed by `name`.
    fn join(&self, base: Option<&[String]>, name: &str) -> ModulePath {
        let mut path = base.unwrap_or(&self.module).to_vec();
        match (base, name) {
            (None, "crate") => path.clear(),
            (_, "self") => {}
            (_, "super") => drop(path.pop()),
            _ => path.push(name.to_owned()),
        }
        path
    }
}

fn inside(group: &proc_macro2::Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// Returns whether `tokens` begin with `::`.
fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [one, two, ..] if is_punct(one, ':') && is_punct(two, ':'))
}

/// Returns whether `tokens` begin with `#[cfg(test)]`.
fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [hash, TokenTree::Group(attribute), ..]
        if is_punct(hash, '#') && attribute.stream().to_string().replace(' ', "") == "cfg(test)")
}

/// Returns the number of tokens of the item that `tokens` begin with, and of its attributes.
fn item(tokens: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| {
        is_punct(token, ';')
            || matches!(token, TokenTree::Group(body) if body.delimiter() == Delimiter::Brace)
    };
    tokens.iter().position(is_end).map_or(tokens.len(), |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(module: &str, text: &str) -> References {
        let module: Vec<_> =
            module.split("::").filter(|it| !it.is_empty()).map(str::to_owned).collect();
        References::read(&module, text).unwrap()
    }

    fn paths(module: &str, text: &str) -> Vec<String> {
        read(module, text).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn imports_are_read_from_the_root_of_the_crate() {
        let text = "use crate::a::{self, b::C, d::*}; pub(crate) use super::e::F as G;";
        assert_eq!(paths("x::y", text), ["a", "a::b::C", "a::d", "x::e::F"]);
        let imports = read("x::y", text).imports;
        let imports: Vec<_> = imports.iter().map(|(n, p)| (n.as_str(), p.join("::"))).collect();
        let expected = [("C", "a::b::C"), ("G", "x::e::F"), ("a", "a")];
        assert_eq!(imports, expected.map(|(name, path)| (name, path.to_owned())));
    }

    #[test]
    fn paths_in_expressions_and_macros_are_read() {
        let text = "fn f() { stream! { crate::a::b(); super::c::<T>() } child::g(self.x::<u8>()) }";
        let found = paths("x", text);
        assert_eq!(found, ["a::b", "c", "x::child::g", "x::x"]);
    }

    #[test]
    fn super_in_a_nested_module_is_the_outer_one() {
        assert_eq!(
            paths("x", "mod inner { use super::A; use super::super::b::B; }"),
            ["x::A", "b::B"]
        );
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = "/// [`crate::a`]\nfn f() { \"crate::b::c\" }\n#[cfg(test)]\nuse crate::d;\n\
                    #[cfg(test)]\n#[path = \"t.rs\"]\nmod tests;\n#[cfg(test)]\nmod more { use crate::e; }\n\
                    use crate::f;";
        assert_eq!(paths("x", text), ["f"]);
    }
}
