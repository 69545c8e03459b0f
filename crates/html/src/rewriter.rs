//! One page as its pieces come.

use std::borrow::Cow;
use std::sync::Arc;

use lol_html::errors::RewritingError;
use lol_html::send::{ElementContentHandlers, HtmlRewriter, Settings};
use lol_html::{AsciiCompatibleEncoding, MemorySettings, OutputSink};

use crate::changes::change;
use crate::encoding::{by_label, by_mark, may_be_a_mark, MARK_BYTES};
use crate::rules::Rules;
use crate::shared::Shared;

/// How a page is taken.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The charset that its Content-Type says.
    pub charset: Option<&'a str>,
    /// About the most memory that it may take: one bound each for unfinished tags with open elements, for what waits for
    /// end tags, and for what one piece becomes.
    pub max_memory_bytes: usize,
    /// Whether the rest of a page that cannot be changed goes on as it is; else that is a [`Failure`].
    pub passes: bool,
}

/// A page that cannot be changed: the fault of whoever wrote it. Once some of it was given out, it cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A tag without end, elements without end, or too much that is put in.
    #[error(
        "the page needs more memory than it may take; hint: tags that do not end, elements in elements without end and \
         much that is put in do, `max_memory_bytes` bounds it"
    )]
    Memory,
    /// Browsers may read the markup in two ways.
    #[error("the page has markup that may be read in two ways: `<{0}>` in `<select>` or `<frameset>`; hint: mend the page")]
    Ambiguous(String),
    /// By its byte order mark it is UTF-16.
    #[error("the page is UTF-16; hint: UTF-8 and other encodings that have ASCII in them can be changed")]
    Encoding,
}

/// Changes one page. The result does not depend on how the page is cut.
pub struct Rewriter {
    state: State,
    failure: Option<Failure>,
    passes: bool,
    max_memory_bytes: usize,
}

enum State {
    /// Until the first bytes tell the encoding.
    Begin(Rules, Option<AsciiCompatibleEncoding>, Vec<u8>),
    Changing(Box<HtmlRewriter<'static, Sink>>, Arc<Shared>),
    /// Given up, or at its end.
    Over,
}

struct Sink(Arc<Shared>);

impl OutputSink for Sink {
    fn handle_chunk(&mut self, chunk: &[u8]) {
        self.0.write(chunk);
    }
}

impl Rewriter {
    /// For one page; `None` if pages of its charset cannot be changed, or the charset is unknown.
    pub fn new(rules: &Rules, options: Options<'_>) -> Option<Self> {
        let encoding = match options.charset {
            None => None,
            Some(charset) => Some(by_label(charset)?),
        };
        Some(Self {
            state: State::Begin(rules.clone(), encoding, Vec::new()),
            failure: None,
            passes: options.passes,
            max_memory_bytes: options.max_memory_bytes,
        })
    }

    /// Why the page is not changed from some place on.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What is ready after a piece of the page.
    pub fn write(&mut self, piece: &[u8]) -> Result<Vec<u8>, Failure> {
        match &mut self.state {
            State::Over if self.passes => return Ok(piece.to_vec()),
            State::Over => return Err(self.failure.clone().unwrap_or(Failure::Memory)),
            State::Changing(..) => {}
            State::Begin(_, _, first) => {
                first.extend_from_slice(piece);
                if first.len() < MARK_BYTES && may_be_a_mark(first) {
                    return Ok(Vec::new());
                }
                let first = std::mem::take(first);
                return self.begin(&first);
            }
        }
        self.go_on(piece)
    }

    /// What is left at the end of the page.
    pub fn end(&mut self) -> Result<Vec<u8>, Failure> {
        let mut made = Vec::new();
        if let State::Begin(_, _, first) = &mut self.state {
            let first = std::mem::take(first);
            made = self.begin(&first)?;
        }
        let State::Changing(rewriter, shared) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(made);
        };
        let ended = rewriter.end();
        made.extend(self.judged(ended, &shared)?);
        Ok(made)
    }

    fn begin(&mut self, first: &[u8]) -> Result<Vec<u8>, Failure> {
        let State::Begin(rules, told, _) = std::mem::replace(&mut self.state, State::Over) else {
            return Ok(Vec::new());
        };
        let Ok(marked) = by_mark(first) else {
            self.failure = Some(Failure::Encoding);
            return if self.passes {
                Ok(first.to_vec())
            } else {
                Err(Failure::Encoding)
            };
        };
        let shared = Shared::new(self.max_memory_bytes);
        let settings = self.settings(&rules, marked.or(told), &shared);
        let rewriter = HtmlRewriter::new(settings, Sink(Arc::clone(&shared)));
        self.state = State::Changing(Box::new(rewriter), shared);
        self.go_on(first)
    }

    fn go_on(&mut self, piece: &[u8]) -> Result<Vec<u8>, Failure> {
        let State::Changing(rewriter, shared) = &mut self.state else {
            return Ok(Vec::new());
        };
        let (written, shared) = (rewriter.write(piece), Arc::clone(shared));
        if written.is_err() {
            self.state = State::Over; // it would panic if it were used again
        }
        self.judged(written, &shared)
    }

    fn judged(&mut self, result: Result<(), RewritingError>, shared: &Shared) -> Result<Vec<u8>, Failure> {
        let failure = match result {
            Ok(()) if !shared.is_exhausted() => return Ok(shared.take()),
            Err(RewritingError::ParsingAmbiguity(error)) => Failure::Ambiguous(tag_of(&error.to_string())),
            _ => Failure::Memory,
        };
        self.failure = Some(failure.clone());
        if self.passes {
            return Ok(shared.take());
        }
        self.state = State::Over;
        Err(failure)
    }

    fn settings(
        &self,
        rules: &Rules,
        encoding: Option<AsciiCompatibleEncoding>,
        shared: &Arc<Shared>,
    ) -> Settings<'static, 'static> {
        let memory = MemorySettings::new()
            .with_preallocated_parsing_buffer_size(0)
            .with_max_allowed_memory_usage(self.max_memory_bytes)
            .with_graceful_bail_out_on_memory_limit_exceeded(self.passes);
        let mut settings = Settings::new_send()
            .with_memory_settings(memory)
            .with_graceful_bail_out_on_content_handler_error(self.passes)
            .with_strict(!self.passes)
            .with_adjust_charset_on_meta_tag(encoding.is_none())
            .with_encoding(encoding.unwrap_or_else(AsciiCompatibleEncoding::utf_8));
        for parsed in rules.parsed.iter() {
            let (parsed, shared, mut is_done) = (Arc::clone(parsed), Arc::clone(shared), false);
            let selector = Cow::Owned(parsed.selector.clone());
            let handlers = ElementContentHandlers::default().element(
                move |element: &mut lol_html::send::Element<'_, '_>| {
                    if parsed.rule.once && std::mem::replace(&mut is_done, true) {
                        return Ok(());
                    }
                    change(element, &parsed, &shared)
                },
            );
            settings = settings.append_element_content_handler((selector, handlers));
        }
        settings
    }
}

/// The name of the tag in the library's message, which has it nowhere else.
fn tag_of(message: &str) -> String {
    let name = message
        .split_once("`<")
        .and_then(|(_, rest)| rest.split_once(">`"));
    name.map_or("?", |(name, _)| name).to_owned()
}
