//! What becomes of which elements: checked once, used by every rewriter.

use std::sync::Arc;

use lol_html::errors::SelectorError;
use lol_html::Selector;

/// One selector and what becomes of the elements it chooses, in the order of these fields.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The CSS selector.
    pub select: String,
    /// Whether only the first element of a page is changed.
    pub once: bool,
    /// Attributes and their new values, not escaped.
    pub set: Vec<(String, String)>,
    /// Attributes, texts in their values, and what stands in place of these.
    pub replace: Vec<(String, String, String)>,
    /// Attributes that go.
    pub remove_attributes: Vec<String>,
    /// Classes that are added.
    pub add_classes: Vec<String>,
    /// Classes that go.
    pub remove_classes: Vec<String>,
    /// The text that the element has instead of its content, not escaped.
    pub text: Option<String>,
    /// The HTML that it has instead of its content.
    pub html: Option<String>,
    /// HTML before its content.
    pub prepend: Option<String>,
    /// HTML after its content.
    pub append: Option<String>,
    /// HTML before the element.
    pub before: Option<String>,
    /// HTML after the element.
    pub after: Option<String>,
    /// Whether its tags go and its content stays.
    pub unwrap: bool,
    /// Whether it goes with its content.
    pub remove: bool,
}

/// A rule that cannot be: the fault of whoever wrote it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongRule {
    /// The selector is not one.
    #[error("`{select}` is not a valid selector: {problem}; hint: write `main a.more`")]
    Selector {
        /// As it was written.
        select: String,
        /// What the parser says.
        problem: &'static str,
    },
    /// The selector needs what a stream does not have.
    #[error(
        "`{select}` has {what}, which is not known while a page streams; \
         hint: names, `.class`, `#id`, `[attribute]`, `:not()`, `:nth-child()`, `:nth-of-type()`, ` ` and `>` can be used"
    )]
    Unsupported {
        /// As it was written.
        select: String,
        /// What it has.
        what: &'static str,
    },
    /// The attribute cannot be written.
    #[error("`{0}` is not a valid attribute name; hint: write `href`")]
    Attribute(String),
    /// The class cannot be written.
    #[error("`{0}` is not a valid class; hint: write one name without blanks, `wide`")]
    Class(String),
    /// A text to be found is empty.
    #[error("a text to be replaced in `{0}` is empty; hint: write what is to be found")]
    Empty(String),
    /// Two contents.
    #[error("`{0}` gets two contents; hint: write `text` or `html`")]
    TwoContents(String),
    /// Nothing to do.
    #[error("nothing becomes of `{0}`; hint: write `remove: true`")]
    Nothing(String),
}

/// A rule whose selector is parsed.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) selector: Selector,
    pub(crate) rule: Rule,
    pub(crate) texts: Texts,
}

/// What is put into pages, shared by all places where it waits to be.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) content: Option<(Arc<str>, bool)>,
    pub(crate) prepend: Option<Arc<str>>,
    pub(crate) append: Option<Arc<str>>,
    pub(crate) before: Option<Arc<str>>,
    pub(crate) after: Option<Arc<str>>,
}

/// Rules that can be applied to any number of pages. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) parsed: Arc<[Arc<Parsed>]>,
}

impl Rules {
    /// Checks the rules.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Result<Self, WrongRule> {
        let parsed: Result<Vec<_>, _> = rules.into_iter().map(|rule| parse(rule).map(Arc::new)).collect();
        Ok(Self {
            parsed: parsed?.into(),
        })
    }
}

fn parse(rule: Rule) -> Result<Parsed, WrongRule> {
    let selector = rule
        .select
        .parse()
        .map_err(|error| wrong_selector(rule.select.clone(), error))?;
    let named = rule.set.iter().map(|(name, _)| name);
    let named = named.chain(rule.replace.iter().map(|(name, ..)| name));
    for name in named.chain(&rule.remove_attributes) {
        if !is_attribute(name) {
            return Err(WrongRule::Attribute(name.clone()));
        }
    }
    for class in rule.add_classes.iter().chain(&rule.remove_classes) {
        if class.is_empty() || class.chars().any(|it| it.is_whitespace() || it.is_control()) {
            return Err(WrongRule::Class(class.clone()));
        }
    }
    if let Some((name, ..)) = rule.replace.iter().find(|(_, find, _)| find.is_empty()) {
        return Err(WrongRule::Empty(name.clone()));
    }
    if rule.text.is_some() && rule.html.is_some() {
        return Err(WrongRule::TwoContents(rule.select));
    }
    if does_nothing(&rule) {
        return Err(WrongRule::Nothing(rule.select));
    }
    let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
    let content = match (&rule.text, &rule.html) {
        (Some(text), _) => Some((Arc::from(text.as_str()), true)),
        (None, html) => shared(html).map(|html| (html, false)),
    };
    let texts = Texts {
        content,
        prepend: shared(&rule.prepend),
        append: shared(&rule.append),
        before: shared(&rule.before),
        after: shared(&rule.after),
    };
    Ok(Parsed {
        selector,
        rule,
        texts,
    })
}

/// Names that need no escape in any encoding that has ASCII in it.
fn is_attribute(name: &str) -> bool {
    let may_begin = |byte: u8| byte.is_ascii_alphabetic() || b"_:@".contains(&byte);
    let may_follow = |byte: u8| may_begin(byte) || byte.is_ascii_digit() || b".-".contains(&byte);
    name.bytes().next().is_some_and(may_begin) && name.bytes().all(may_follow)
}

fn does_nothing(rule: &Rule) -> bool {
    let texts = [
        &rule.text,
        &rule.html,
        &rule.prepend,
        &rule.append,
        &rule.before,
        &rule.after,
    ];
    texts.iter().all(|text| text.is_none())
        && rule.set.is_empty()
        && rule.replace.is_empty()
        && rule.remove_attributes.is_empty()
        && rule.add_classes.is_empty()
        && rule.remove_classes.is_empty()
        && !rule.unwrap
        && !rule.remove
}

fn wrong_selector(select: String, error: SelectorError) -> WrongRule {
    let (problem, what) = match error {
        SelectorError::UnsupportedPseudoClassOrElement => ("", "a pseudo-class or pseudo-element"),
        SelectorError::UnsupportedCombinator(_) => ("", "a combinator"),
        SelectorError::NamespacedSelector => ("", "a namespace"),
        SelectorError::NestedNegation => ("", "a `:not()` in another"),
        SelectorError::UnsupportedSyntax => ("", "a syntax"),
        SelectorError::UnexpectedEnd => ("it ends too early", ""),
        SelectorError::EmptySelector => ("it is empty", ""),
        SelectorError::DanglingCombinator => ("nothing follows a combinator", ""),
        SelectorError::MissingAttributeName | SelectorError::UnexpectedTokenInAttribute => {
            ("what stands in `[]` is wrong", "")
        }
        SelectorError::InvalidClassName => ("what follows `.` is no class", ""),
        _ => ("a character is not expected", ""),
    };
    if problem.is_empty() {
        return WrongRule::Unsupported { select, what };
    }
    WrongRule::Selector { select, problem }
}
