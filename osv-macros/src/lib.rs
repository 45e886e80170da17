//! The macros of the crate `osv`: they bring the kernel into a program's link, and put what the program says
//! about its VM into the program's file.
//!
//! What is said in `[package.metadata.osv]` of the manifest comes first and what the attribute says after it, so
//! that the attribute has the last word. Everything is checked here: a typo is an error of the compiler at its
//! place, not a surprise at boot.

#![forbid(unsafe_code)]

mod arguments;
mod bundle;
mod metadata;
mod test;

use std::path::{Path, PathBuf};

use osv_runner::config::Config;
use proc_macro::{Delimiter, Literal, TokenStream, TokenTree};

use arguments::Complaint;

/// Makes the program an operating system: `main` runs in a VM of its own.
///
/// The VM can be described by `memory = "256M"`, `cpus = 2`, `machine = "q35"` (or `"pc"`, `"microvm"`),
/// `kernel_args = "--strace"` and `files = ["data", "etc/motd:/etc/motd"]`, which are paths in the package
/// (and, behind a colon, in the VM). The manifest's `[package.metadata.osv]` takes the same keys.
///
/// `main` stays what it is: it may return a `Result` or an `ExitCode`. An `async fn main` needs the attribute of
/// its runtime below this one.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut output = match check_main(&item).and_then(|()| configuration(arguments)) {
        Ok(configuration) => configuration,
        Err(complaint) => complaint.into_tokens(),
    };
    output.extend(item);
    if !cfg!(feature = "std") {
        output.extend(call_of_main());
    }
    output
}

/// What the start of a program without std calls.
fn call_of_main() -> TokenStream {
    let code = "const _: () = { #[unsafe(no_mangle)] extern \"Rust\" fn __osv_main() -> u8 { ::osv::Termination::report(main()) } };";
    code.parse().unwrap_or_default()
}

/// Where there is no `main` to mark, as in a library with tests: takes what the attribute [`macro@main`] takes.
#[proc_macro]
pub fn configure(arguments: TokenStream) -> TokenStream {
    configuration(arguments).unwrap_or_else(Complaint::into_tokens)
}

/// A test in a VM of its own: one that hangs or crashes the machine fails alone.
///
/// Besides `memory`, `cpus`, `machine` and `kernel_args` it takes `timeout = 10`, in seconds (60 by default). The test
/// may return a `Result` and have the attributes of a `#[test]`.
///
/// In a test program that has such tests the harness runs on Linux, and so do tests with a plain `#[test]`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    test::expand(arguments, item).unwrap_or_else(Complaint::into_tokens)
}

/// The attribute stands on a function that can be the program's `main`.
fn check_main(item: &TokenStream) -> Result<(), Complaint> {
    let mut tokens = item.clone().into_iter().peekable();
    let mut has_attribute = false;
    let mut asynchronous = None;
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => has_attribute = true,
            TokenTree::Ident(word) if word.to_string() == "async" => asynchronous = Some(word.span()),
            TokenTree::Ident(word) if word.to_string() == "fn" => {
                let name = tokens.next().map(|name| name.to_string()).unwrap_or_default();
                if name != "main" {
                    return Err(Complaint::new(word.span(), "`#[osv::main]` belongs on the program's `fn main`"));
                }
                return match (tokens.next(), asynchronous) {
                    (Some(TokenTree::Group(group)), _)
                        if group.delimiter() == Delimiter::Parenthesis && !group.stream().is_empty() =>
                    {
                        Err(Complaint::new(group.span(), "`main` takes no arguments: see `std::env::args`"))
                    }
                    (_, Some(span)) if !has_attribute => Err(Complaint::new(
                        span,
                        "`main` cannot be async by itself: put the attribute of the runtime below `#[osv::main]`",
                    )),
                    _ => Ok(()),
                };
            }
            _ => {}
        }
    }
    Err(Complaint::new(proc_macro::Span::call_site(), "`#[osv::main]` belongs on the program's `fn main`"))
}

/// What puts configuration and bundle into the program's file.
fn configuration(arguments: TokenStream) -> Result<TokenStream, Complaint> {
    let here = proc_macro::Span::call_site();
    let manifest = manifest_dir();
    let mut wishes = metadata::read(&manifest).map_err(|e| Complaint::new(here, &e))?;
    wishes.merge(arguments::read(arguments)?);
    let text = wishes.lines();
    Config::parse(&text).map_err(|e| Complaint::new(here, &e))?;
    let mut code = String::from("const _: () = { use ::osv as _; };");
    if !text.is_empty() {
        code += &format!("::osv::__config!({});", Literal::byte_string(text.as_bytes()));
    }
    let mut sources = vec![manifest.join("Cargo.toml")];
    if !wishes.files.is_empty() {
        let bundle = bundle::build(&manifest, &wishes.files).map_err(|e| Complaint::new(here, &e))?;
        code += &format!("::osv::__bundle!({});", literal(&bundle.image));
        sources.extend(bundle.sources);
    }
    for source in sources.iter().filter(|source| source.is_file()) {
        // Whoever changes the file has this compiled again.
        code += &format!("const _: &[u8] = ::core::include_bytes!({});", literal(source));
    }
    code.parse().map_err(|_| Complaint::new(here, "the paths of the bundled files cannot be written in Rust"))
}

fn manifest_dir() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into()))
}

fn literal(path: &Path) -> String {
    Literal::string(&path.to_string_lossy()).to_string()
}

/// What a program says about its VM.
#[derive(Debug, Default)]
struct Wishes {
    /// Keys and values as [`Config`] reads them.
    settings: Vec<(String, String)>,
    /// Files to bundle: `HOST[:GUEST]`.
    files: Vec<String>,
}

impl Wishes {
    /// Takes what one key says.
    fn set(&mut self, key: &str, values: Vec<String>) -> Result<(), String> {
        match key.replace('_', "-").as_str() {
            "files" => self.files.extend(values),
            "kernel-args" => self.settings.push(("kernel-args".into(), values.join(" "))),
            key @ ("memory" | "cpus" | "machine" | "timeout") => match values.as_slice() {
                [value] => self.settings.push((key.into(), value.clone())),
                _ => return Err(format!("`{key}` takes one value")),
            },
            _ => {
                return Err(format!("a VM has no `{key}`: there are memory, cpus, machine, kernel-args and files"));
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) {
        self.settings.extend(other.settings);
        self.files.extend(other.files);
    }

    fn lines(&self) -> String {
        self.settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }
}
