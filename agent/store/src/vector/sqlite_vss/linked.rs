//! The extension as part of the program, from the crate `sqlite-vss`: with the
//! feature `vss-static`, and `LIB_SQLITE_VSS` set while building to the folder
//! of its three archives, `libsqlite_vss0.a`, `libsqlite_vector0.a` and
//! `libfaiss_avx2.a`. Which processors can run them is up to who built them, so
//! it is not looked at here.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use rusqlite::{Connection, ffi};

use crate::error::{Error, ErrorKind, Result};

type Init = unsafe extern "C" fn(
    *mut ffi::sqlite3,
    *mut *mut c_char,
    *const ffi::sqlite3_api_routines,
) -> c_int;

/// Makes it known to this connection only.
///
/// # Errors
/// SQLite cannot take it.
pub(super) fn register(connection: &Connection) -> Result<()> {
    for entry in [
        sqlite_vss::sqlite3_vector_init as *const (),
        sqlite_vss::sqlite3_vss_init as *const (),
    ] {
        let mut message = ptr::null_mut();
        #[expect(
            unsafe_code,
            reason = "the extension is C++ code linked into the program"
        )]
        // SAFETY: the crate declares the functions without their arguments;
        // these are the ones they have in the C++ source, as of every
        // extension's entry point. The handle is open as long as the connection
        // is borrowed. Built with SQLITE_CORE, the extension calls SQLite by
        // name and never looks at the routines. The message, if any, is a string
        // that SQLite allocated and that is freed once, after it was copied.
        let (code, reason) = unsafe {
            let init: Init = std::mem::transmute(entry);
            let code = init(connection.handle(), &raw mut message, ptr::null());
            let text = (!message.is_null()).then(|| CStr::from_ptr(message).to_string_lossy());
            let reason = text.map(std::borrow::Cow::into_owned);
            ffi::sqlite3_free(message.cast());
            (code, reason)
        };
        if code != ffi::SQLITE_OK {
            let reason = reason.unwrap_or_default();
            let text = format!("sqlite-vss cannot be used, code={code}, reason={reason}");
            return Err(Error::new(ErrorKind::Internal, text));
        }
    }
    Ok(())
}
