//! Which apps a page shows, as its address says: `/?app=shop&show=trouble`. Pure.
//!
//! - `app`: those with this in their id, in capitals or not.
//! - `show`: `trouble`, those that somebody should look at; `all`, as many as are sampled; else the first few.
//!
//! What it does not know it ignores. What the apps are as a whole is for the page to say, whichever it shows.

use form_urlencoded::Serializer;

use super::words::plain;

/// Apps on the page unless more are asked for; those in trouble come first.
const FIRST_MAX: usize = 50;
/// Apps on it at most; [`super::sampler`] knows no more.
const ALL_MAX: usize = 1000;
/// So many apps are found without help.
const SEEN_AT_ONCE: usize = 8;

/// How many of the apps that fit are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Show {
    #[default]
    First,
    Trouble,
    All,
}

impl Show {
    fn word(self) -> Option<&'static str> {
        match self {
            Self::First => None,
            Self::Trouble => Some("trouble"),
            Self::All => Some("all"),
        }
    }
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// As it was written.
    text: String,
    /// Its small letters.
    wanted: String,
    show: Show,
}

impl Selection {
    /// By the part of an address behind its `?`.
    pub(super) fn of(query: Option<&str>) -> Self {
        let mut selection = Self::default();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match (&*name, &*value) {
                ("app", text) => (selection.text, selection.wanted) = (plain(text), text.to_lowercase()),
                ("show", "trouble") => selection.show = Show::Trouble,
                ("show", "all") => selection.show = Show::All,
                _ => (),
            }
        }
        selection
    }

    /// Whether an app's id fits.
    pub(super) fn fits(&self, app: &str) -> bool {
        self.wanted.is_empty() || app.to_lowercase().contains(&self.wanted)
    }

    /// Whether apps of which nothing is to be said are left out.
    pub(super) fn is_trouble(&self) -> bool {
        self.show == Show::Trouble
    }

    /// Whether all apps are asked for.
    pub(super) fn is_all(&self) -> bool {
        self.show == Show::All
    }

    /// How many apps are shown at most.
    pub(super) fn limit(&self) -> usize {
        if self.show == Show::First { FIRST_MAX } else { ALL_MAX }
    }

    /// What is looked for; may be empty.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The value of `show`, where there is one.
    pub(super) fn word(&self) -> Option<&'static str> {
        self.show.word()
    }

    /// Whether the page offers to find apps, of which there are so many.
    pub(super) fn is_offered(&self, apps: usize) -> bool {
        apps > SEEN_AT_ONCE || *self != Self::default()
    }

    /// The addresses of the same page with those in trouble, and with all.
    pub(super) fn trouble(&self) -> String {
        self.address(Show::Trouble)
    }

    /// See [`Self::trouble`].
    pub(super) fn all(&self) -> String {
        self.address(Show::All)
    }

    fn address(&self, show: Show) -> String {
        let mut query = Serializer::new(String::new());
        if !self.text.is_empty() {
            query.append_pair("app", &self.text);
        }
        if let Some(word) = show.word() {
            query.append_pair("show", word);
        }
        format!("?{}", query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_query_the_first_apps_are_shown() {
        for query in [None, Some(""), Some("?&&=&show=x&other=1")] {
            let selection = Selection::of(query);
            assert_eq!(
                (selection.limit(), selection.is_trouble(), selection.is_all()),
                (50, false, false),
                "{query:?}"
            );
            assert!(selection.fits("anything") && !selection.is_offered(8) && selection.is_offered(9));
        }
    }

    #[test]
    fn an_app_fits_by_any_part_of_its_id_in_capitals_or_not() {
        let selection = Selection::of(Some("app=B%C3%84R+1"));
        assert_eq!(selection.text(), "BÄR 1");
        assert!(selection.fits("ein.bär 1.x") && !selection.fits("bär"));
        assert!(selection.is_offered(1), "else nobody gets out of it");
    }

    #[test]
    fn addresses_keep_what_is_looked_for() {
        let selection = Selection::of(Some("show=trouble&app=a%26b%0Ac"));
        assert!(selection.is_trouble() && selection.word() == Some("trouble") && selection.limit() == 1000);
        assert_eq!(selection.all(), "?app=a%26b+c&show=all");
        assert_eq!(Selection::default().trouble(), "?show=trouble");
    }
}
