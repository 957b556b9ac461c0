//! The cdylib and staticlib around natsune-ffi that Swift and Kotlin load.
#![allow(unsafe_code, reason = "the re-export of generated C functions")]

natsune_ffi::uniffi_reexport_scaffolding!();
