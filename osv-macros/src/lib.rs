//! `#[osv::main]`.

use proc_macro::TokenStream;

/// Marks `main`.
#[proc_macro_attribute]
pub fn main(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut output: TokenStream = "use ::osv as _;".parse().unwrap_or_default();
    output.extend(item);
    output
}
