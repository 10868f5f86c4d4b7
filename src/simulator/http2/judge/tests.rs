//! What each header may be, and what a certificate may do.
