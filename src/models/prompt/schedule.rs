//! Prompts that change while a picture is made: `[from:to:0.4]`, and `[one|other]` by turns.
//!
//! Brackets are matched with a stack of open ones. A bracket that matches nothing, or whose inside
//! means nothing, is text, and so are all brackets around it; the others keep their meaning. The
//! WebUI's grammar has several readings of a prompt with such brackets and takes any of them; all
//! other prompts have one reading, the same here.

use std::collections::BTreeSet;

use super::{NESTING_MAX, PromptError, check_length, number};

/// Most bytes of all texts of a schedule together.
const TEXTS_BYTES_MAX: usize = 16 << 20;

/// Which steps a schedule is for. A sampler that asks the network twice for each step has twice as
/// many of them here, as in the WebUI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The only pass over a picture, or the first of two.
    First {
        /// Its steps.
        steps: usize,
    },
    /// The pass over the enlarged picture. Its schedule goes on where the first one ended: a number
    /// of steps counts from the first step of the first pass, and 1.0 is the beginning of this one.
    Second {
        /// Steps of the first pass.
        first_steps: usize,
        /// Its own steps.
        steps: usize,
    },
}

/// The text of a prompt for some steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// The last step that it is for; [`position_at`] says how steps are counted.
    pub end_step: usize,
    /// The prompt without schedules.
    pub text: String,
}

/// The texts of a prompt over a pass, in order; the last ends with the last step.
///
/// `[from:to:when]` is `from` up to `when` and then `to`; both may be empty, and `[to:when]` is
/// `[:to:when]`. `when` with a point is a share of the steps, and one without is a step. `[a|b|c]`
/// is another one with each step. All of them nest. A backslash keeps the sign after it from
/// meaning anything; both stay, for the reader of emphasis. Texts that follow each other and are
/// equal are given once. Other than in the WebUI a `|` with no meaning leaves all else its meaning.
///
/// [`PromptError`] when the prompt is too long or too deep, or its texts are together too long.
pub fn schedule(text: &str, pass: Pass) -> Result<Vec<Scheduled>, PromptError> {
    check_length(text)?;
    let nodes = Reader::read(text, pass)?;
    let mut changes = Changes::default();
    changes.collect(&nodes);
    let steps = pass.steps();
    let count = if changes.each_step {
        steps
    } else {
        changes.ends.len() + 1
    };
    if count.saturating_mul(text.len()) > TEXTS_BYTES_MAX {
        return Err(PromptError::TooManyTexts);
    }
    let mut ends = changes.ends;
    if changes.each_step {
        ends.extend(1..=steps);
    }
    ends.insert(steps);
    let mut schedule: Vec<Scheduled> = Vec::new();
    for end_step in ends {
        let mut text = String::new();
        write(&nodes, end_step, &mut text);
        match schedule.last_mut() {
            Some(last) if last.text == text => last.end_step = end_step,
            _ => schedule.push(Scheduled { end_step, text }),
        }
    }
    Ok(schedule)
}

/// Index of the text for a step that is counted from zero: the first one that does not end before.
/// The WebUI holds that count against ends that are counted from one, so `[a:b:3]` is `a` for the
/// first four steps; same pictures need the same.
pub fn position_at(schedule: &[Scheduled], step: usize) -> usize {
    let position = schedule.iter().position(|text| step <= text.end_step);
    position.unwrap_or(schedule.len().saturating_sub(1))
}

impl Pass {
    fn steps(self) -> usize {
        match self {
            Self::First { steps } | Self::Second { steps, .. } => steps,
        }
    }

    /// The step that `when` means, at most the last one; below one the change comes before all.
    fn step(self, when: &str) -> Option<usize> {
        let value = number(when)?;
        let (steps_before, share_before) = match self {
            Self::First { .. } => (0, 0.0),
            Self::Second { first_steps, .. } => (first_steps, 1.0),
        };
        let step = if when.contains('.') {
            (value - share_before) * self.steps() as f64
        } else {
            value - steps_before as f64
        };
        // The cast cuts the fraction off and stays within bounds, whatever the number is.
        Some((step as usize).min(self.steps()))
    }
}

/// A part of a prompt.
enum Node<'a> {
    /// Text; also a bracket, colon or bar that means nothing.
    Text(&'a str),
    /// Parts in brackets that stay.
    Group(Vec<Node<'a>>),
    /// `before` up to a step, then `after`.
    Switch {
        before: Vec<Node<'a>>,
        after: Vec<Node<'a>>,
        end_step: usize,
    },
    /// Another one with each step.
    Turns(Vec<Vec<Node<'a>>>),
}

impl Node<'_> {
    fn is(&self, sign: &str) -> bool {
        matches!(self, Self::Text(text) if *text == sign)
    }
}

/// Writes what a prompt is at a step.
fn write(nodes: &[Node], step: usize, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Group(nodes) => write(nodes, step, out),
            Node::Switch {
                before, end_step, ..
            } if step <= *end_step => write(before, step, out),
            Node::Switch { after, .. } => write(after, step, out),
            Node::Turns(turns) => write(&turns[step.saturating_sub(1) % turns.len()], step, out),
        }
    }
}

/// When a prompt changes.
#[derive(Default)]
struct Changes {
    ends: BTreeSet<usize>,
    each_step: bool,
}

impl Changes {
    fn collect(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) => {}
                Node::Group(nodes) => self.collect(nodes),
                Node::Turns(turns) => {
                    self.each_step = true;
                    for nodes in turns {
                        self.collect(nodes);
                    }
                }
                Node::Switch {
                    before,
                    after,
                    end_step,
                } => {
                    self.collect(before);
                    self.collect(after);
                    self.ends.extend(Some(*end_step).filter(|&step| step >= 1));
                }
            }
        }
    }
}

/// What has been read so far.
struct Reader<'a> {
    pass: Pass,
    /// Parts outside of all brackets.
    outside: Vec<Node<'a>>,
    /// For each open bracket the sign, and what came after it.
    open: Vec<(&'a str, Vec<Node<'a>>)>,
}

impl<'a> Reader<'a> {
    fn read(text: &'a str, pass: Pass) -> Result<Vec<Node<'a>>, PromptError> {
        let mut reader = Self {
            pass,
            outside: Vec::new(),
            open: Vec::new(),
        };
        let mut rest = text;
        while !rest.is_empty() {
            let (token, after) = rest.split_at(token_length(rest));
            rest = after;
            match token {
                "[" | "(" => reader.open.push((token, Vec::new())),
                "]" | ")" => reader.close(token),
                _ => reader.innermost().push(Node::Text(token)),
            }
            if reader.open.len() > NESTING_MAX {
                return Err(PromptError::TooDeep);
            }
        }
        reader.give_up();
        Ok(reader.outside)
    }

    fn innermost(&mut self) -> &mut Vec<Node<'a>> {
        match self.open.last_mut() {
            Some((_, nodes)) => nodes,
            None => &mut self.outside,
        }
    }

    fn close(&mut self, sign: &'a str) {
        let opening = if sign == "]" { "[" } else { "(" };
        let matching = self.open.pop_if(|(open, _)| *open == opening);
        let closed = match matching {
            Some(("[", nodes)) => self.square(nodes),
            Some((_, nodes)) => round(nodes),
            None => Err(Vec::new()),
        };
        match closed {
            Ok(node) => self.innermost().push(node),
            Err(nodes) => {
                // Only the inside of a bracket that did match is given back.
                if !nodes.is_empty() {
                    self.open.push((opening, nodes));
                }
                self.give_up();
                self.outside.push(Node::Text(sign));
            }
        }
    }

    /// All open brackets are text.
    fn give_up(&mut self) {
        for (sign, nodes) in std::mem::take(&mut self.open) {
            self.outside.push(Node::Text(sign));
            self.outside.extend(nodes);
        }
    }

    /// What square brackets mean; gives the inside back if they mean nothing.
    fn square(&self, nodes: Vec<Node<'a>>) -> Result<Node<'a>, Vec<Node<'a>>> {
        let colons = nodes.iter().filter(|node| node.is(":")).count();
        if colons == 0 {
            return Ok(if nodes.iter().any(|node| node.is("|")) {
                Node::Turns(split(nodes, "|"))
            } else {
                Node::Group(bracketed("[", nodes, "]"))
            });
        }
        let when = match nodes.as_slice() {
            [.., colon, Node::Text(when)] if colon.is(":") && colons <= 2 => self.pass.step(when),
            _ => None,
        };
        let Some(end_step) = when else {
            return Err(nodes);
        };
        let mut parts = split(nodes, ":").into_iter();
        let first = parts.next().unwrap_or_default();
        let (before, after) = match parts.next() {
            Some(after) if colons == 2 => (first, after),
            _ => (Vec::new(), first),
        };
        Ok(Node::Switch {
            before,
            after,
            end_step,
        })
    }
}

/// Round brackets are emphasis, for which they have one colon at most. Gives the inside back if
/// they mean nothing.
fn round(nodes: Vec<Node>) -> Result<Node, Vec<Node>> {
    if nodes.iter().filter(|node| node.is(":")).count() > 1 {
        return Err(nodes);
    }
    Ok(Node::Group(bracketed("(", nodes, ")")))
}

fn bracketed<'a>(open: &'a str, mut nodes: Vec<Node<'a>>, close: &'a str) -> Vec<Node<'a>> {
    nodes.insert(0, Node::Text(open));
    nodes.push(Node::Text(close));
    nodes
}

/// Cuts at each sign.
fn split<'a>(nodes: Vec<Node<'a>>, sign: &str) -> Vec<Vec<Node<'a>>> {
    let mut parts = vec![Vec::new()];
    for node in nodes {
        if node.is(sign) {
            parts.push(Vec::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(node);
        }
    }
    parts
}

/// Length of the sign, or of the text up to the next sign, in bytes. A backslash takes the letter
/// after it along.
fn token_length(text: &str) -> usize {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '[' | ']' | '(' | ')' | ':' | '|' => return at.max(1),
            '\\' => drop(letters.next()),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_pass(text: &str, pass: Pass, expected: &[(usize, &str)]) {
        let schedule = schedule(text, pass).unwrap();
        let found: Vec<(usize, &str)> = schedule
            .iter()
            .map(|scheduled| (scheduled.end_step, scheduled.text.as_str()))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    /// Over ten steps.
    fn check(text: &str, expected: &[(usize, &str)]) {
        check_pass(text, Pass::First { steps: 10 }, expected);
    }

    #[test]
    fn a_prompt_without_schedules_is_one_text() {
        for text in [
            "",
            "a photo",
            "(a:1.2) [b] ((c))",
            r"\[a:b:3\]",
            "a: b, c:3",
            "\u{e9}\\",
        ] {
            check(text, &[(10, text)]);
        }
    }

    #[test]
    fn text_comes_goes_and_changes() {
        check(
            "a [red:blue:4] hat",
            &[(4, "a red hat"), (10, "a blue hat")],
        );
        check("a [red:4] hat", &[(4, "a  hat"), (10, "a red hat")]);
        check("a [red::4] hat", &[(4, "a red hat"), (10, "a  hat")]);
        check("[ red : blue : 4 ]", &[(4, " red "), (10, " blue ")]);
        check("[(a:1.5):(b:2):3]", &[(3, "(a:1.5)"), (10, "(b:2)")]);
        check("[:3]", &[(10, "")]);
    }

    #[test]
    fn numbers_with_a_point_are_shares_and_others_steps() {
        check("[a:b:.25]", &[(2, "a"), (10, "b")]);
        check("[a:b:0.5]", &[(5, "a"), (10, "b")]);
        check("[a:b:1]", &[(1, "a"), (10, "b")]);
        check("[a:b:1.0]", &[(10, "a")]);
        check("[a:b:99]", &[(10, "a")]);
        check("[a:b:0]", &[(10, "b")]);
        check("[a:b:-3]", &[(10, "b")]);
        check("[a:b:+3]", &[(3, "a"), (10, "b")]);
        check("[a:b:0.01]", &[(10, "b")]);
        check("[a:b:1e999]", &[(10, "a")]);
    }

    #[test]
    fn the_second_pass_goes_on_after_the_first() {
        let pass = Pass::Second {
            first_steps: 20,
            steps: 10,
        };
        check_pass("[a:b:0.5]", pass, &[(10, "b")]);
        check_pass("[a:b:1.5]", pass, &[(5, "a"), (10, "b")]);
        check_pass("[a:b:15]", pass, &[(10, "b")]);
        check_pass("[a:b:23]", pass, &[(3, "a"), (10, "b")]);
        check_pass("[a:b:50]", pass, &[(10, "a")]);
    }

    #[test]
    fn turns_change_with_each_step() {
        let four = Pass::First { steps: 4 };
        check_pass("[a|b]", four, &[(1, "a"), (2, "b"), (3, "a"), (4, "b")]);
        check_pass(
            "[a|(b:1.1)|]c",
            four,
            &[(1, "ac"), (2, "(b:1.1)c"), (3, "c"), (4, "ac")],
        );
        check_pass("x[a||]", four, &[(1, "xa"), (3, "x"), (4, "xa")]);
        check_pass("[a|a]", four, &[(4, "a")]);
    }

    #[test]
    fn schedules_nest() {
        check("[a:[b:c:6]:3]", &[(3, "a"), (6, "b"), (10, "c")]);
        check("([a:b:3], c:1.2)", &[(3, "(a, c:1.2)"), (10, "(b, c:1.2)")]);
        check("[[a:b:3]]", &[(3, "[a]"), (10, "[b]")]);
        let four = Pass::First { steps: 4 };
        check_pass("[[a|b]:c:2]", four, &[(1, "a"), (2, "b"), (4, "c")]);
    }

    #[test]
    fn brackets_that_mean_nothing_are_text_and_leave_others_their_meaning() {
        check("a [b", &[(10, "a [b")]);
        check("a] (b [c:d:3]", &[(3, "a] (b c"), (10, "a] (b d")]);
        check("[a:b:c:3] [d:3]", &[(3, "[a:b:c:3] "), (10, "[a:b:c:3] d")]);
        check("[a:b] [c:3]", &[(3, "[a:b] "), (10, "[a:b] c")]);
        check(
            "[a (b:c:3] [d:3]",
            &[(3, "[a (b:c:3] "), (10, "[a (b:c:3] d")],
        );
        check(
            "[(a:b:c):3] [d:3]",
            &[(3, "[(a:b:c):3] "), (10, "[(a:b:c):3] d")],
        );
        check("[]()[:]", &[(10, "[]()[:]")]);
        check("[a:b:inf]", &[(10, "[a:b:inf]")]);
        check("[a:b:[3]]", &[(10, "[a:b:[3]]")]);
    }

    #[test]
    fn a_bar_without_turns_is_text() {
        check("a | b [c:3]", &[(3, "a | b "), (10, "a | b c")]);
        check("[a|b:c:3]", &[(3, "a|b"), (10, "c")]);
        check("(a|b)", &[(10, "(a|b)")]);
    }

    #[test]
    fn escaped_signs_stay_as_they_are() {
        check(r"[a\:b\]:c:3]", &[(3, r"a\:b\]"), (10, "c")]);
        check(r"\[a:b:3]", &[(10, r"\[a:b:3]")]);
    }

    #[test]
    fn a_step_has_the_first_text_that_does_not_end_before() {
        let schedule = schedule("[a:b:3]", Pass::First { steps: 10 }).unwrap();
        let positions: Vec<usize> = (0..12).map(|step| position_at(&schedule, step)).collect();
        assert_eq!(positions, [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(position_at(&[], 3), 0);
    }

    #[test]
    fn depth_length_and_texts_are_bounded() {
        let pass = Pass::First { steps: 10 };
        let deep = |depth: usize| "[".repeat(depth);
        assert!(schedule(&deep(NESTING_MAX), pass).is_ok());
        assert_eq!(
            schedule(&deep(NESTING_MAX + 1), pass),
            Err(PromptError::TooDeep)
        );
        let long = "a".repeat(super::super::PROMPT_BYTES_MAX);
        assert_eq!(schedule(&long, pass).unwrap().len(), 1);
        assert!(matches!(
            schedule(&format!("{long}a"), pass),
            Err(PromptError::TooLong { .. })
        ));
        let endless = Pass::First { steps: usize::MAX };
        assert_eq!(schedule("[a|b]", endless), Err(PromptError::TooManyTexts));
        assert_eq!(schedule("[a:b:.5]", endless).unwrap().len(), 2);
        let many: Vec<String> = (1..6000).map(|step| format!("[a:{step}]")).collect();
        let steps = Pass::First { steps: 6000 };
        assert_eq!(
            schedule(&many.concat(), steps),
            Err(PromptError::TooManyTexts)
        );
        assert_eq!(
            schedule("[a|b]", Pass::First { steps: 0 }).unwrap().len(),
            1
        );
    }

    #[test]
    fn any_text_is_read() {
        let signs = [
            "(", ")", "[", "]", ":", "|", "\\", "3", ".5", " ", "a", "\u{e9}",
        ];
        let mut state = 7_u64;
        for _ in 0..5000 {
            let mut text = String::new();
            for _ in 0..state >> 59 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                text += signs[(state >> 33) as usize % signs.len()];
            }
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let schedule = schedule(&text, Pass::First { steps: 10 }).unwrap();
            assert_eq!(schedule.last().unwrap().end_step, 10);
            assert!(schedule.is_sorted_by(|one, other| one.end_step < other.end_step));
        }
    }
}
