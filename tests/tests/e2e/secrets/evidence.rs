//! What somebody would find who took the sender's files, logs and metrics away.

use std::path::Path;

use waxseal_tests::leak::Search;

/// Places, and what is in them.
#[derive(Default)]
pub struct Evidence {
    places: Vec<(String, Vec<u8>)>,
}

impl Evidence {
    pub fn add(&mut self, place: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.places.push((place.into(), content.into()));
    }

    /// Every file of the sender's folder, but for the one that holds the key-encryption key.
    pub fn add_files(&mut self, when: &str, folder: &Path) {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            assert!(entry.file_type().unwrap().is_file(), "{entry:?}");
            let name = entry.file_name().into_string().unwrap();
            if name != "waxseal.key" {
                self.add(format!("{name} {when}"), std::fs::read(entry.path()).unwrap());
            }
            names.push(name);
        }
        assert!(names.iter().any(|name| name == "waxseal.db"), "{names:?}");
    }

    /// Where these bytes are.
    pub fn places_with(&self, bytes: &[u8]) -> Vec<&str> {
        let there = |content: &[u8]| content.windows(bytes.len()).any(|window| window == bytes);
        self.places.iter().filter(|(_, content)| there(content)).map(|(place, _)| place.as_str()).collect()
    }

    /// What is found, and where.
    pub fn find(&self, search: &Search) -> Vec<String> {
        let found = |(place, content): &(String, Vec<u8>)| -> Vec<String> {
            search.find(content).into_iter().map(|what| format!("{place}: {what}")).collect()
        };
        self.places.iter().flat_map(found).collect()
    }

    pub fn len(&self) -> usize {
        self.places.iter().map(|(_, content)| content.len()).sum()
    }
}
