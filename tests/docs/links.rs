//! Links within the repository.

use std::fs;

use crate::text::{Page, pages, root};

/// Targets of a page's links.
fn targets(page: &Page) -> Vec<String> {
    let prose = page.prose().join("\n");
    let ends = prose.match_indices("](").map(|(at, found)| &prose[at + found.len()..]);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let page = Page { name: String::new(), text: text.to_owned() };
    let prose = page.prose();
    prose.into_iter().filter(|line| line.starts_with('#')).map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = title.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let directory = root().join(&page.name);
        let directory = directory.parent().expect("a page is in a directory");
        for target in targets(&page).into_iter().filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { root().join(&page.name) } else { directory.join(file) };
            let leads = match (path.exists(), anchor) {
                (false, _) => false,
                (true, "") => true,
                (true, anchor) => {
                    fs::read_to_string(&path).is_ok_and(|text| anchors(&text).iter().any(|a| a == anchor))
                }
            };
            if !leads {
                broken.push(format!("{}: {target}", page.name));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}
