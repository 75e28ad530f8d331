//! Other people's code opens our tokens, and we open theirs: npm `jose`, PyPI `joserfc` and `jwcrypto`,
//! every signature algorithm with every protection, in both directions.
//!
//! Relies on `./tests/run`, which installs the libraries; without them these tests fail and say so. Each
//! test starts one program of `tests/interop` once, with all cases at a time. Guarantees that what we emit
//! has exactly the headers and claims of `docs/wire-format.md` in other readers' eyes, and that tokens
//! made by other writers to that document open here.

mod cases;
mod ours;
mod program;
mod theirs;

use program::Library;

#[test]
fn jose_opens_our_tokens() {
    ours::opened_by(Library::Jose);
}

#[test]
fn joserfc_opens_our_tokens() {
    ours::opened_by(Library::Joserfc);
}

#[test]
fn jwcrypto_opens_our_tokens() {
    ours::opened_by(Library::Jwcrypto);
}

#[test]
fn we_open_tokens_of_jose() {
    theirs::opened_here(Library::Jose);
}

#[test]
fn we_open_tokens_of_joserfc() {
    theirs::opened_here(Library::Joserfc);
}

#[test]
fn we_open_tokens_of_jwcrypto() {
    theirs::opened_here(Library::Jwcrypto);
}
