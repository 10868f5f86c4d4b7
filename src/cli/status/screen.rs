//! Text that stays in its place on a terminal while it changes; elsewhere one block after the other.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

use super::super::exit::Failure;
use super::super::output::write;

/// Lines and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    lines: usize,
    columns: usize,
}

/// Standard output.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    begun: bool,
}

/// The cursor is hidden, and a long line is cut at the edge instead of taking another one.
const BEGIN: &str = "\x1b[?25l\x1b[?7l";
const END: &str = "\x1b[?7h\x1b[?25h";

impl Screen {
    /// Standard output, whatever it is.
    pub(super) fn of_stdout() -> Self {
        Self { is_terminal: io::stdout().is_terminal(), begun: false }
    }

    /// Standard output for what follows one another, also on a terminal.
    pub(super) fn of_blocks() -> Self {
        Self { is_terminal: false, begun: false }
    }

    /// Its width, where it has one; a terminal may change it at any time.
    pub(super) fn width(&self) -> Option<usize> {
        self.size().map(|size| size.columns)
    }

    fn size(&self) -> Option<Size> {
        let size = tcgetwinsize(io::stdout()).ok().filter(|_| self.is_terminal)?;
        Some(Size { lines: size.ws_row.into(), columns: size.ws_col.into() }).filter(|size| size.columns > 0)
    }

    /// Shows this in the place of what was shown before; whether anybody still reads.
    pub(super) fn show(&mut self, text: &str) -> Result<bool, Failure> {
        let first = !std::mem::replace(&mut self.begun, true);
        write(&match self.size() {
            Some(size) if first => scrolled_away(size) + &frame(text, size),
            Some(size) => frame(text, size),
            None if first => text.to_owned(),
            None => format!("\n{text}"),
        })
    }

    /// Gives the terminal back as it was, with the cursor below the text.
    pub(super) fn leave(&self) -> Result<(), Failure> {
        match self.is_terminal && self.begun {
            true => write(END).map(|_| ()),
            false => Ok(()),
        }
    }
}

/// Moves what stands there out of the way, where it can be scrolled back to.
fn scrolled_away(size: Size) -> String {
    "\n".repeat(size.lines)
}

/// From the upper left corner on, every line to its end, then nothing: what is overwritten by the same does not flicker.
fn frame(text: &str, size: Size) -> String {
    let room = size.lines.saturating_sub(1).max(2);
    let lines: Vec<&str> = text.lines().collect();
    let (shown, rest) = match lines.len() > room {
        true => {
            (&lines[..room - 1], format!("… {} more lines: make the window higher\x1b[K\r\n", lines.len() - room + 1))
        }
        false => (&lines[..], String::new()),
    };
    let lines: String = shown.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
    format!("{BEGIN}\x1b[H{lines}{rest}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_overwrites_the_one_before_and_clears_what_is_left_of_it() {
        let frame = frame("one\ntwo\n", Size { lines: 24, columns: 80 });
        assert_eq!(frame, "\x1b[?25l\x1b[?7l\x1b[Hone\x1b[K\r\ntwo\x1b[K\r\n\x1b[J");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let frame = frame("one\ntwo\nthree\nfour\n", Size { lines: 4, columns: 80 });
        assert!(frame.contains("two\x1b[K\r\n… 2 more lines: make the window higher\x1b[K\r\n\x1b[J"), "{frame:?}");
        assert!(!frame.contains("three"), "{frame:?}");
    }
}
