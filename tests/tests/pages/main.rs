//! What the documentation tells a reader to type, typed.

use waxseal_tests::page::{Page, Place};
use waxseal_tests::sender::free_port;

#[test]
fn three_nodes_and_their_database_come_and_go_as_the_page_says() {
    let ports = ["DB1", "DB2", "DB3", "ONE", "TWO", "THREE", "FRONT", "HOOK"];
    let variables = ports.map(|name| (name, free_port().to_string()));
    Page::read("docs/cluster.md").run(&Place::new(), &variables);
}

#[test]
fn the_store_of_one_machine_moves_to_several_as_the_page_says() {
    let ports = ["DB", "ONE", "TWO", "HOOK"];
    let variables = ports.map(|name| (name, free_port().to_string()));
    Page::read("docs/moving.md").run(&Place::new(), &variables);
}

#[test]
fn a_sender_is_set_up_and_an_event_is_published_as_the_readme_says() {
    let address = format!("127.0.0.1:{}", free_port());
    let place = Place::new();
    Page::read("README.md")
        .with("localhost:8080", &address)
        .run(&place, &[("WAXSEAL_LISTEN", address.clone())]);
}
