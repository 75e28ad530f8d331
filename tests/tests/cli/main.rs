//! Transcripts of the program: what it says when it is used wrongly, one file for each command.

use waxseal_tests::process::program;

#[test]
fn every_misuse_is_answered_with_what_was_wrong_and_what_is_expected() {
    trycmd::TestCases::new()
        .register_bin("waxseal", trycmd::schema::Bin::Path(program("waxseal")))
        .env("COLUMNS", "100")
        .env("WAXSEAL_URL", "http://127.0.0.1:9")
        .env("WAXSEAL_TOKEN", "wxs_none")
        .case("tests/cli/cases/*.trycmd");
}
