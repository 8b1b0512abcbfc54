"""Pages made of a sweep's records. Whatever a run was called or printed is text there, never markup."""
