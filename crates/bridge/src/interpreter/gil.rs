//! Everything of the bridge that needs `unsafe`: the interpreter's lock, contexts, coroutines, threads, descriptors, memory.
//!
//! # How it works
//! A worker's thread holds the interpreter all the time. [`ParkedGil::park`] and [`ParkedGil::unpark`] bracket the blocking
//! `epoll_wait` of tokio and nothing else, so between them no Python object is touched by this thread although pyo3 still
//! counts it as attached.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::task::{ready, Poll};
use std::{ptr, slice};

use headgate_engine::Read;
use libmimalloc_sys as mimalloc;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyContext, PyString};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, ReadBuf};

thread_local! {
    static MARK: u8 = const { 0 };
}

/// The interpreter's lock of one loop, which its thread lets go of while it sleeps.
#[derive(Default)]
pub(crate) struct ParkedGil {
    /// The thread's state meanwhile. Only that thread stores here.
    saved: AtomicPtr<ffi::PyThreadState>,
    /// It has slept since other threads were last asked to run.
    has_slept: AtomicBool,
}

impl ParkedGil {
    /// Lets go of the interpreter before the thread sleeps.
    pub(crate) fn park(&self) {
        // SAFETY: tokio parks only inside `Core.poll`, which Python called, so this thread holds the interpreter.
        let saved = unsafe { ffi::PyEval_SaveThread() };
        self.saved.store(saved, Ordering::Relaxed);
    }

    /// Takes the interpreter back when the thread wakes.
    pub(crate) fn unpark(&self) {
        let saved = self.saved.load(Ordering::Relaxed);
        if !saved.is_null() {
            self.saved.store(ptr::null_mut(), Ordering::Relaxed);
            self.has_slept.store(true, Ordering::Relaxed);
            // SAFETY: `saved` is this thread's own state, given by `PyEval_SaveThread` and restored exactly once.
            unsafe { ffi::PyEval_RestoreThread(saved) }
        }
    }

    /// Lets other threads of the interpreter run if they asked to. They have, if this one has slept since it was last asked.
    pub(crate) fn yield_now(&self, _attached: Python<'_>) {
        if self.has_slept.load(Ordering::Relaxed) {
            return self.has_slept.store(false, Ordering::Relaxed);
        }
        // SAFETY: the argument proves that this thread holds the interpreter; nothing of Python is touched in between.
        unsafe { ffi::PyEval_RestoreThread(ffi::PyEval_SaveThread()) }
    }
}

/// Runs what the engine asks for, on the loop's thread, which holds the interpreter whenever the engine runs.
pub(crate) fn held<T>(work: impl FnOnce(Python<'_>) -> T) -> T {
    // SAFETY: reads the state of this thread.
    debug_assert!(unsafe { ffi::PyGILState_Check() } != 0);
    // SAFETY: the engine runs inside `Core`'s methods only, which Python called; between `park` and `unpark` none of its
    // tasks does. So the thread is attached for as long as `work` takes.
    work(unsafe { Python::assume_attached() })
}

/// A copy of the current context (PEP 567), for one exchange.
pub(crate) fn copy_context(py: Python<'_>) -> PyResult<Bound<'_, PyContext>> {
    // SAFETY: the call gives a new reference or null with an exception set.
    let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }?;
    Ok(context.cast_into()?)
}

/// A context that is the thread's current one until this is dropped.
pub(crate) struct Entered<'a, 'py>(&'a Bound<'py, PyContext>);

impl<'a, 'py> Entered<'a, 'py> {
    pub(crate) fn new(context: &'a Bound<'py, PyContext>) -> PyResult<Self> {
        // SAFETY: `context` is a context object; the thread is attached, as the `Bound` proves.
        if unsafe { ffi::PyContext_Enter(context.as_ptr()) } < 0 {
            return Err(PyErr::fetch(context.py()));
        }
        Ok(Self(context))
    }
}

impl Drop for Entered<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: entered in `new`; contexts nest, and what a hook entered it has left when it returns.
        if unsafe { ffi::PyContext_Exit(self.0.as_ptr()) } < 0 {
            PyErr::fetch(self.0.py()).write_unraisable(self.0.py(), None);
        }
    }
}

/// What a coroutine did when it was resumed.
pub(crate) enum Sent<'py> {
    /// It ended with this value.
    Returned(Bound<'py, PyAny>),
    /// It waits for this.
    Yielded(Bound<'py, PyAny>),
}

/// Whether this is a coroutine made by an `async def`.
pub(crate) fn is_coroutine(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: reads the type of a live object.
    unsafe { ffi::PyCoro_CheckExact(object.as_ptr()) != 0 }
}

/// Resumes a coroutine with `None`.
pub(crate) fn send_none<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<Sent<'py>> {
    let py = coroutine.py();
    let mut result = ptr::null_mut();
    // SAFETY: live objects, an attached thread; `result` is a new reference in both cases that give one.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &raw mut result) {
            ffi::PySendResult::PYGEN_RETURN => Ok(Sent::Returned(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Yielded(Bound::from_owned_ptr(py, result))),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// Whether there is no reference to an object but the one that is looked at.
pub(crate) fn is_alone<T>(object: &Bound<'_, T>) -> bool {
    // SAFETY: reads the count of a live object while attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}

/// Whether there are weak references to an object; true if its type does not tell.
#[allow(clippy::cast_ptr_alignment)] // why: CPython keeps the field aligned, whatever the type of the pointer on the way
pub(crate) fn has_weak_references(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object, and CPython's own way to its list of weak references (PyObject_GET_WEAKREFS_LISTPTR).
    unsafe {
        let offset = (*ffi::Py_TYPE(object.as_ptr())).tp_weaklistoffset;
        let Ok(offset) = usize::try_from(offset) else {
            return true;
        };
        let list = object
            .as_ptr()
            .cast::<u8>()
            .add(offset)
            .cast::<*mut ffi::PyObject>();
        offset == 0 || !(*list).is_null()
    }
}

/// The characters of an ASCII text, where they lie.
pub(crate) fn ascii_of<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a [u8]> {
    let object = text.as_ptr();
    // SAFETY: a live text, which does not change; of this kind it has one byte for each character at this place. The lengths
    // of objects are not negative.
    let bytes = unsafe {
        if ffi::PyUnicode_KIND(object) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        let length = ffi::PyUnicode_GET_LENGTH(object).unsigned_abs();
        slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(object), length)
    };
    bytes.is_ascii().then_some(bytes)
}

/// A text of ASCII characters; `None` if the bytes are others.
pub(crate) fn ascii_text<'py>(py: Python<'py>, bytes: &[u8]) -> Option<PyResult<Bound<'py, PyString>>> {
    let length = ffi::Py_ssize_t::try_from(bytes.len()).ok()?;
    if !bytes.is_ascii() {
        return None;
    }
    let kind = c_int::try_from(ffi::PyUnicode_1BYTE_KIND).ok()?;
    // SAFETY: the call reads so many bytes and gives a new text, or null with an exception set.
    let text = unsafe {
        let made = ffi::PyUnicode_FromKindAndData(kind, bytes.as_ptr().cast(), length);
        Bound::from_owned_ptr_or_err(py, made).map(|text| text.cast_into_unchecked())
    };
    Some(text)
}

/// A value that only the thread that made it can reach; any other gets a `RuntimeError`.
///
/// Dropped by another thread it is leaked: better a few bytes than a count changed by two threads at once.
pub(crate) struct ThreadBound<T> {
    owner: usize,
    value: ManuallyDrop<T>,
}

// SAFETY: `get` and `drop` reach the value on the owner's thread only.
unsafe impl<T> Send for ThreadBound<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for ThreadBound<T> {}

impl<T> ThreadBound<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            owner: this_thread(),
            value: ManuallyDrop::new(value),
        }
    }

    pub(crate) fn get(&self) -> PyResult<&T> {
        if self.owner == this_thread() {
            return Ok(&self.value);
        }
        Err(PyRuntimeError::new_err(
            "a request is used by another thread than its own; hint: read what you need before you start the thread",
        ))
    }
}

impl<T> Drop for ThreadBound<T> {
    fn drop(&mut self) {
        if self.owner == this_thread() {
            // SAFETY: dropped once, here, and not used after.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

/// A number that no two live threads share.
fn this_thread() -> usize {
    MARK.with(|mark| ptr::from_ref(mark).addr())
}

extern "C" {
    // CPython's documented function, which pyo3's bindings leave out
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> c_int;
}

/// A new `bytes` of at most `most` bytes that `read` fills, without a copy and without a byte written twice.
pub(crate) fn read_bytes<'py>(
    py: Python<'py>,
    most: usize,
    read: Read<'_>,
) -> Poll<io::Result<Bound<'py, PyBytes>>> {
    filled_bytes(py, most, |room| {
        let mut room = ReadBuf::uninit(room);
        ready!(read(&mut room))?;
        Poll::Ready(Ok(room.filled().len()))
    })
}

/// The same for what a pipe holds.
pub(crate) fn read_pipe<'py>(
    py: Python<'py>,
    most: usize,
    pipe: BorrowedFd<'_>,
) -> io::Result<Bound<'py, PyBytes>> {
    let read = filled_bytes(py, most, |room| {
        let filled = rustix::io::read(pipe, room).map(|(filled, _)| filled.len());
        Poll::Ready(filled.map_err(io::Error::from))
    });
    match read {
        Poll::Ready(bytes) => bytes,
        Poll::Pending => unreachable!("a pipe is not waited for"),
    }
}

/// A new `bytes` of at most `most` bytes; `fill` tells how many of its first ones it has written.
fn filled_bytes(
    py: Python<'_>,
    most: usize,
    fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<Bound<'_, PyBytes>>> {
    let Ok(size) = ffi::Py_ssize_t::try_from(most) else {
        return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
    };
    // SAFETY: the call gives a new reference, to an object of our own that no other code sees before it is filled, or null
    // with an exception set.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(ptr::null(), size)) };
    let Ok(bytes) = made else {
        return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
    };
    // SAFETY: the object has so many bytes; they are not initialised, which `MaybeUninit` says, and borrowed for this call.
    let room = unsafe {
        slice::from_raw_parts_mut(
            ffi::PyBytes_AsString(bytes.as_ptr()).cast::<MaybeUninit<u8>>(),
            most,
        )
    };
    let filled = ready!(fill(room))?;
    let filled = ffi::Py_ssize_t::try_from(filled).expect("no more than the room");
    if filled == size {
        // SAFETY: it was made as `bytes`.
        return Poll::Ready(Ok(unsafe { bytes.cast_into_unchecked() }));
    }
    let mut raw = bytes.into_ptr();
    // SAFETY: the only reference to a new object; on failure it is released and `raw` null, with an exception
    // set, which `from_owned_ptr_or_err` takes. A size of 0 gives the one empty `bytes`.
    let cut = unsafe {
        _PyBytes_Resize(&raw mut raw, filled);
        Bound::from_owned_ptr_or_err(py, raw)
    };
    match cut.map(Bound::cast_into::<PyBytes>) {
        Ok(Ok(bytes)) => Poll::Ready(Ok(bytes)),
        _ => Poll::Ready(Err(io::ErrorKind::OutOfMemory.into())),
    }
}

/// Takes over a descriptor from Python, which gave it up with `detach()`.
pub(crate) fn adopt_descriptor(fd: RawFd) -> PyResult<OwnedFd> {
    borrow_descriptor(fd)?;
    // SAFETY: it is open, and by the contract of the Python method no other code closes it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A second descriptor for what `fd` is; not inherited by children.
pub(crate) fn duplicate_descriptor(fd: RawFd) -> PyResult<OwnedFd> {
    borrow_descriptor(fd)?.try_clone_to_owned().map_err(PyErr::from)
}

/// Registers a descriptor with the runtime that is entered.
pub(crate) fn watch_descriptor(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the descriptor, so it stays open and the same until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

fn borrow_descriptor<'a>(fd: RawFd) -> PyResult<BorrowedFd<'a>> {
    if fd < 0 {
        return Err(PyOSError::new_err(format!("`{fd}` is not a file descriptor")));
    }
    // SAFETY: not negative; only asked below whether it is open, and duplicated at once by callers.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_getfd(borrowed).map_err(io::Error::from)?;
    Ok(borrowed)
}

/// The allocator of the module: mimalloc.
///
/// Its aligned allocations of other sizes than powers of two are several times dearer than plain ones (it makes them larger
/// and looks for the aligned place within), and nearly nothing needs them: plain ones are aligned as C says.
pub(crate) struct Allocator;

/// The alignment of plain allocations; smaller ones than that are aligned to eight bytes.
const PLAIN_ALIGN: usize = 16;

fn is_plain(layout: Layout) -> bool {
    layout.align() <= 8 || (layout.align() <= PLAIN_ALIGN && layout.size() >= PLAIN_ALIGN)
}

// SAFETY: mimalloc's functions keep to the contract of C's; the alignment is asked for wherever it is more than theirs.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_plain(layout) {
            mimalloc::mi_malloc(layout.size()).cast()
        } else {
            mimalloc::mi_malloc_aligned(layout.size(), layout.align()).cast()
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_plain(layout) {
            mimalloc::mi_zalloc(layout.size()).cast()
        } else {
            mimalloc::mi_zalloc_aligned(layout.size(), layout.align()).cast()
        }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        mimalloc::mi_free(memory.cast());
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if is_plain(layout) && is_plain(Layout::from_size_align_unchecked(size, layout.align())) {
            mimalloc::mi_realloc(memory.cast(), size).cast()
        } else {
            mimalloc::mi_realloc_aligned(memory.cast(), size, layout.align()).cast()
        }
    }
}
