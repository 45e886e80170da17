//! Expands `#[osv::test]`.
//!
//! The function goes into another one of the same name, without its attributes, and that one asks the crate `osv` to run
//! it: in a VM, or here if this is the VM. A line of configuration tells the launcher to let the harness run on Linux.

use proc_macro::{Delimiter, Literal, Span, TokenStream, TokenTree};

use crate::Wishes;
use crate::arguments::{self, Complaint};

/// What the attribute's keys are for the environment of the process that boots the VM.
const VARIABLES: [(&str, &str); 5] = [
    ("memory", "OSV_MEMORY"),
    ("cpus", "OSV_CPUS"),
    ("machine", "OSV_MACHINE"),
    ("kernel-args", "OSV_KERNEL_ARGS"),
    ("timeout", "OSV_TIMEOUT"),
];

/// The function in parts: its attributes, and the rest with its name.
struct Function {
    attributes: TokenStream,
    /// The message that `should_panic` expects.
    panics: Option<String>,
    name: String,
    rest: TokenStream,
}

pub fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Complaint> {
    let wishes = arguments::read(arguments)?;
    if !wishes.files.is_empty() {
        return Err(Complaint::new(Span::call_site(), "a test sees the workspace's files; it cannot bundle others"));
    }
    let function = read(item)?;
    let code = format!(
        "::osv::__config!(b\"tests=apart\\n\");
        ::osv::__private::Test {{ module: ::core::module_path!(), name: {:?}, settings: &{:?}, panics: {:?} }}.run({})",
        function.name,
        variables(&wishes),
        function.panics,
        function.name
    );
    let mut body = function.rest;
    body.extend(parse(&code)?);
    let mut output = parse("#[::core::prelude::v1::test]")?;
    output.extend(function.attributes);
    output.extend(parse(&format!("fn {}()", function.name))?);
    output.extend([TokenTree::from(proc_macro::Group::new(Delimiter::Brace, body))]);
    Ok(output)
}

fn parse(code: &str) -> Result<TokenStream, Complaint> {
    code.parse().map_err(|_| Complaint::new(Span::call_site(), "this test cannot be written out"))
}

fn variables(wishes: &Wishes) -> Vec<(&'static str, &str)> {
    let variable = |key: &str| VARIABLES.iter().find(|(name, _)| *name == key).map(|(_, variable)| *variable);
    wishes.settings.iter().filter_map(|(key, value)| Some((variable(key)?, value.as_str()))).collect()
}

fn read(item: TokenStream) -> Result<Function, Complaint> {
    let mut function =
        Function { attributes: TokenStream::new(), panics: None, name: String::new(), rest: TokenStream::new() };
    let mut tokens = item.into_iter().peekable();
    while matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#') {
        function.attributes.extend(tokens.next());
        if let Some(TokenTree::Group(group)) = tokens.next() {
            function.panics = function.panics.or(expected_panic(group.stream()));
            function.attributes.extend([TokenTree::from(group)]);
        }
    }
    let mut is_name = false;
    for token in tokens {
        match &token {
            TokenTree::Ident(word) if word.to_string() == "async" => {
                return Err(Complaint::new(word.span(), "a test cannot be async by itself: block on its future"));
            }
            TokenTree::Ident(word) if is_name && function.name.is_empty() => function.name = word.to_string(),
            TokenTree::Ident(word) => is_name = word.to_string() == "fn",
            _ => {}
        }
        function.rest.extend([token]);
    }
    if function.name.is_empty() {
        return Err(Complaint::new(Span::call_site(), "`#[osv::test]` belongs on a function"));
    }
    Ok(function)
}

/// The message in `should_panic(expected = "...")`; empty without one. `None` for another attribute.
fn expected_panic(attribute: TokenStream) -> Option<String> {
    let mut tokens = attribute.into_iter();
    let is_meant = matches!(tokens.next(), Some(TokenTree::Ident(word)) if word.to_string() == "should_panic");
    let literals = |tokens: TokenStream| tokens.into_iter().find_map(literal);
    is_meant.then(|| {
        tokens
            .find_map(|token| match token {
                TokenTree::Group(group) => literals(group.stream()),
                other => literal(other),
            })
            .and_then(|literal| arguments::text(&literal))
            .unwrap_or_default()
    })
}

fn literal(token: TokenTree) -> Option<Literal> {
    match token {
        TokenTree::Literal(literal) => Some(literal),
        _ => None,
    }
}
