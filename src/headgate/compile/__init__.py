"""From a file or a `Gateway` to what workers take: loading, documents, the order of hooks, the snapshot."""
