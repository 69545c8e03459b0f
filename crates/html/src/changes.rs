//! What a rule makes of one element.

use std::sync::Arc;

use lol_html::html_content::ContentType;
use lol_html::send::Element;
use lol_html::HandlerResult;

use crate::references::{escaped, replaced};
use crate::rules::Parsed;
use crate::shared::{Insertion, Shared};

/// Changes an element; an error only if there is no memory left for what is to be put in.
pub(crate) fn change(element: &mut Element<'_, '_>, parsed: &Parsed, shared: &Arc<Shared>) -> HandlerResult {
    if shared.is_exhausted() {
        return Err("no memory is left".into());
    }
    change_attributes(element, parsed)?;
    let inserted = |text: &Arc<str>, kind| Insertion::boxed(shared, text, kind);
    let texts = &parsed.texts;
    if let Some((text, is_plain)) = &texts.content {
        let kind = if *is_plain {
            ContentType::Text
        } else {
            ContentType::Html
        };
        element.streaming_set_inner_content(inserted(text, kind));
    }
    if let Some(text) = &texts.prepend {
        element.streaming_prepend(inserted(text, ContentType::Html));
    }
    if let Some(text) = &texts.append {
        element.streaming_append(inserted(text, ContentType::Html));
    }
    if let Some(text) = &texts.before {
        element.streaming_before(inserted(text, ContentType::Html));
    }
    if let Some(text) = &texts.after {
        element.streaming_after(inserted(text, ContentType::Html));
    }
    if parsed.rule.remove {
        element.remove();
    } else if parsed.rule.unwrap {
        element.remove_and_keep_content();
    }
    Ok(())
}

fn change_attributes(element: &mut Element<'_, '_>, parsed: &Parsed) -> HandlerResult {
    let rule = &parsed.rule;
    for (name, value) in &rule.set {
        element.set_attribute(name, &escaped(value))?;
    }
    for (name, find, by) in &rule.replace {
        let value = element.get_attribute(name);
        if let Some(made) = value.and_then(|value| replaced(&value, find, by)) {
            element.set_attribute(name, &made)?;
        }
    }
    for name in &rule.remove_attributes {
        element.remove_attribute(name);
    }
    if !rule.add_classes.is_empty() || !rule.remove_classes.is_empty() {
        change_classes(element, &rule.add_classes, &rule.remove_classes)?;
    }
    Ok(())
}

fn change_classes(element: &mut Element<'_, '_>, added: &[String], removed: &[String]) -> HandlerResult {
    let before = element.get_attribute("class").unwrap_or_default();
    let added: Vec<String> = added.iter().map(|class| escaped(class)).collect();
    let removed: Vec<String> = removed.iter().map(|class| escaped(class)).collect();
    let mut classes: Vec<&str> = before
        .split_ascii_whitespace()
        .filter(|class| !removed.iter().any(|one| one == class))
        .collect();
    for class in &added {
        if !classes.contains(&class.as_str()) {
            classes.push(class);
        }
    }
    if classes.is_empty() {
        element.remove_attribute("class");
    } else {
        element.set_attribute("class", &classes.join(" "))?;
    }
    Ok(())
}
