//! When the certificates of listeners end, as metrics.

use headgate_shared::series::{Family, Merge, Registry};

use super::Tables;

/// Certificates that are told apart.
const MOST: usize = 10_000;

/// Notes the end of every certificate that a listener shows now; of several of one name the first to end.
pub(super) fn note(tables: &Tables, registry: &Registry) {
    let name = "headgate_tls_certificate_expiry_timestamp_seconds";
    let help = "When a certificate ends, in Unix seconds, by its first name.";
    let family = Family::gauge(name, help, &["listener", "name"], Merge::Min);
    for settings in tables.listeners.values() {
        let Some(tls) = &settings.tls else { continue };
        let mut ends = tls.expirations();
        // later ones first, so that the first to end is what stays
        ends.sort_by_key(|(_, end)| std::cmp::Reverse(*end));
        for (name, end) in ends {
            if let Ok(series) = registry.series(&family, &[&settings.name, &name], MOST) {
                series.set(0, u64::try_from(end).unwrap_or(0));
            }
        }
    }
}
