//! Reads `memory = "256M", cpus = 2, files = ["data"]`.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::Wishes;

/// An error of the compiler.
pub struct Complaint {
    span: Span,
    message: String,
}

impl Complaint {
    pub fn new(span: Span, message: &str) -> Self {
        Self { span, message: message.to_owned() }
    }

    /// `::core::compile_error! { "osv: ..." }` at its place.
    pub fn into_tokens(self) -> TokenStream {
        let text = TokenTree::from(Literal::string(&format!("osv: {}", self.message)));
        let mut tokens: Vec<TokenTree> = Vec::new();
        for name in ["core", "compile_error"] {
            tokens.push(Punct::new(':', Spacing::Joint).into());
            tokens.push(Punct::new(':', Spacing::Alone).into());
            tokens.push(Ident::new(name, self.span).into());
        }
        tokens.push(Punct::new('!', Spacing::Alone).into());
        tokens.push(Group::new(Delimiter::Brace, text.into()).into());
        tokens
            .into_iter()
            .map(|mut token| {
                token.set_span(self.span);
                token
            })
            .collect()
    }
}

/// Reads the arguments of the attribute.
pub fn read(arguments: TokenStream) -> Result<Wishes, Complaint> {
    let mut wishes = Wishes::default();
    let mut tokens = arguments.into_iter();
    while let Some(key) = tokens.next() {
        let span = key.span();
        let TokenTree::Ident(key) = key else {
            return Err(Complaint::new(span, "here belongs a key, as in `memory = \"256M\"`"));
        };
        match tokens.next() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == '=' => {}
            _ => return Err(Complaint::new(span, &format!("`{key}` needs a value, as in `memory = \"256M\"`"))),
        }
        let values = tokens.next().and_then(values);
        let values = values.ok_or_else(|| {
            Complaint::new(span, &format!("the value of `{key}` must be a string, a number or a list of strings"))
        })?;
        wishes.set(&key.to_string(), values).map_err(|e| Complaint::new(span, &e))?;
        match tokens.next() {
            None => break,
            Some(TokenTree::Punct(punct)) if punct.as_char() == ',' => {}
            Some(other) => return Err(Complaint::new(other.span(), "here belongs a comma")),
        }
    }
    Ok(wishes)
}

fn values(token: TokenTree) -> Option<Vec<String>> {
    match token {
        TokenTree::Literal(literal) => Some(vec![text(&literal)?]),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            let mut values = Vec::new();
            for token in group.stream() {
                match token {
                    TokenTree::Literal(literal) => values.push(text(&literal)?),
                    TokenTree::Punct(punct) if punct.as_char() == ',' => {}
                    _ => return None,
                }
            }
            Some(values)
        }
        // A literal that has come through a `macro_rules` macro.
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
            group.stream().into_iter().next().and_then(values)
        }
        _ => None,
    }
}

/// What a literal means: a number, or a string by the rules of TOML's basic strings, which are those of Rust
/// for all that can be in a path or a size.
pub fn text(literal: &Literal) -> Option<String> {
    let source = literal.to_string();
    if source.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(source.replace('_', ""));
    }
    let quoted = source.strip_prefix('r').map(|raw| raw.trim_matches('#').to_owned());
    match quoted {
        Some(raw) => Some(raw.strip_prefix('"')?.strip_suffix('"')?.to_owned()),
        None => {
            let table = format!("value = {source}");
            let table = toml::de::DeTable::parse(&table).ok()?;
            table.get_ref().get("value")?.get_ref().as_str().map(str::to_owned)
        }
    }
}
