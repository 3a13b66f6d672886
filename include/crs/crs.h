/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crs.h: the Checkpoint/Restart Service for C programs, and for everything that can call C.
 *
 * A program that is linked with libcrs (-lcrs) can have itself saved, save and bring back others, and keep
 * checkpoints out of its critical sections. The program `crs` does the work; libcrs finds it by $CRS_PROGRAM,
 * else beside the directory that libcrs was installed to, else in $PATH.
 *
 * What holds for all functions
 * - Result: CRS_SUCCESS or a negative CRS_ERR_*; the details are in crs_last_error(). Before crs_init() and
 *   after crs_finalize() all but crs_init() and the text functions answer CRS_ERR_NOT_READY.
 * - Threads: each may be called from any thread at any time, unless it says otherwise. Checkpoints and
 *   restarts that one process asks for are made one after the other.
 * - Signals: none may be called from a signal handler, but crs_disable_checkpoint() and its kin, and
 *   crs_enable_checkpoint().
 * - fork: a child has a gate of its own, with nobody in a critical section. It is ready if its parent was.
 * - Strings that are passed in are copied, those that are handed out belong to the handle they came from.
 */
#ifndef CRS_CRS_H
#define CRS_CRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CRS_PUBLIC __attribute__((visibility("default")))
#else
#define CRS_PUBLIC
#endif

/* --- Results and errors ------------------------------------------------------------------------------------
 */

/* The numbers are the exit statuses of `crs`, below zero; they never change. */
typedef enum crs_result {
  CRS_SUCCESS = 0,
  CRS_ERR_USAGE = -2,        /* the call itself makes no sense */
  CRS_ERR_NOT_FOUND = -3,    /* no such process, job or snapshot */
  CRS_ERR_PERMISSION = -4,   /* the kernel or the file system said no */
  CRS_ERR_REFUSED = -5,      /* something cannot be saved or restored */
  CRS_ERR_BUSY = -6,         /* somebody else is at it */
  CRS_ERR_TIMEOUT = -7,      /* the limit passed */
  CRS_ERR_BAD_SNAPSHOT = -8, /* truncated, corrupted, of a newer format, of another machine */
  CRS_ERR_STORAGE = -9,      /* disk full, unwritable store, I/O error */
  CRS_ERR_OTHER = -10,       /* anything else */
  CRS_ERR_NOT_READY = -20,   /* before crs_init() or after crs_finalize() */
  CRS_ERR_UNSUPPORTED = -21, /* nothing here can do that */
  CRS_ERR_CANCELLED = -22    /* by crs_operation_cancel() */
} crs_result;

/* "CRS_ERR_REFUSED"; every number has a text. Async-signal-safe, needs no crs_init(). */
CRS_PUBLIC const char* crs_result_text(int result);

typedef struct crs_error {
  int code;            /* crs_result; CRS_SUCCESS: the last call in this thread was well */
  int error_number;    /* errno of the system call behind it, or 0 */
  const char* phase;   /* the operation that failed: "checkpoint 4711"; never NULL */
  const char* message; /* one sentence; never NULL */
  const char* hint;    /* what to do about it; "" where there is nothing to say */
} crs_error;

/* Of the last call in this thread that can fail. Valid until the next one in this thread. */
CRS_PUBLIC const crs_error* crs_last_error(void);

/* --- States ------------------------------------------------------------------------------------------------
 */

typedef enum crs_state {
  CRS_NONE = 0,
  CRS_CHECKPOINT = 1,  /* quiesce now */
  CRS_RESTART_PRE = 2, /* in a restored process: let go of what did not survive */
  CRS_RESTART = 3,     /* take up again */
  CRS_CONTINUE = 4,    /* the same in the original */
  CRS_TERM = 5,        /* the snapshot is durable and the process ends next */
  CRS_RUNNING = 6,     /* no checkpoint in progress */
  CRS_ERROR = 7,       /* it failed; the process goes on */
  CRS_STATE_MAX = 8
} crs_state;

/* "CONTINUE"; every number has a text. Async-signal-safe, needs no crs_init(). */
CRS_PUBLIC const char* crs_state_text(int state);

/* --- Snapshots ---------------------------------------------------------------------------------------------
 */

/* A handle. Not thread-safe: one thread at a time. */
typedef struct crs_snapshot crs_snapshot;

/* An empty one, to be filled by crs_checkpoint(). Where it will be made can be said before: `directory` (must
 * not exist) outside any store, or `store` and `job`; each may be NULL for the default. */
CRS_PUBLIC int crs_snapshot_create(crs_snapshot** snapshot);
CRS_PUBLIC int crs_snapshot_set_directory(crs_snapshot* snapshot, const char* directory);
CRS_PUBLIC int crs_snapshot_set_job(crs_snapshot* snapshot, const char* store, const char* job);

/* Cold start: one that is on disk, by the path of its directory, JOB or JOB@N. It is checked before anything
 * else is done with it. errors: CRS_ERR_NOT_FOUND, CRS_ERR_BAD_SNAPSHOT, CRS_ERR_PERMISSION. */
CRS_PUBLIC int crs_snapshot_open(const char* name, crs_snapshot** snapshot);

/* A variable that crs_restart() of this handle gives the program, as `crs restart --env NAME=VALUE` does; a
 * `value` of NULL takes it back. Components none and self put it into the environment of the program that
 * they start. A program that component native brings back has the environment that it was saved with, in its
 * own memory; it asks for such a variable by crs_restart_variable(), and without libcrs the restart is
 * refused. Others on the machine can read it while the restart is made, as any command line: no place for
 * secrets. errors: CRS_ERR_USAGE (no name, or one with '='). */
CRS_PUBLIC int crs_snapshot_set_variable(crs_snapshot* snapshot, const char* name, const char* value);

CRS_PUBLIC void crs_snapshot_free(
    crs_snapshot* snapshot); /* the handle; what is on disk stays. NULL is well */

/* What it is; "" or 0 while it is empty, or NULL. */
CRS_PUBLIC const char* crs_snapshot_component_name(const crs_snapshot* snapshot);
CRS_PUBLIC const char* crs_snapshot_directory(const crs_snapshot* snapshot);         /* absolute */
CRS_PUBLIC const char* crs_snapshot_metadata_filename(const crs_snapshot* snapshot); /* absolute */
CRS_PUBLIC bool crs_snapshot_cold_start(const crs_snapshot* snapshot); /* it came from crs_snapshot_open() */
CRS_PUBLIC const char* crs_snapshot_job(const crs_snapshot* snapshot);
CRS_PUBLIC uint64_t crs_snapshot_generation(const crs_snapshot* snapshot);
CRS_PUBLIC pid_t crs_snapshot_pid(const crs_snapshot* snapshot);               /* of the saved process */
CRS_PUBLIC uint64_t crs_snapshot_memory_bytes(const crs_snapshot* snapshot);   /* saved, uncompressed */
CRS_PUBLIC uint64_t crs_snapshot_left_out_bytes(const crs_snapshot* snapshot); /* that it was spared */
CRS_PUBLIC uint64_t crs_snapshot_stored_bytes(const crs_snapshot* snapshot);   /* on disk */
CRS_PUBLIC uint64_t crs_snapshot_stop_ns(const crs_snapshot* snapshot); /* how long the process stood still */

/* --- The eight operations ----------------------------------------------------------------------------------
 */

/* Makes this process a participating one: its critical sections are respected by every `crs` of the same
 * user. May be called again: each call needs a crs_finalize() of its own. errors: CRS_ERR_OTHER. */
CRS_PUBLIC int crs_init(void);
CRS_PUBLIC int crs_finalize(void); /* the last one while a thread is in a critical section: CRS_ERR_BUSY */

typedef struct crs_checkpoint_options {
  size_t size;           /* sizeof(crs_checkpoint_options): fields may be added behind the last one */
  bool term;             /* end the process once the snapshot is durable; not in the restored one */
  bool stop;             /* stop it (SIGSTOP) once the snapshot is durable; not together with term */
  bool inc_prep_only;    /* of this process: only begin a quiesce session, of `timeout_ns`; CRS_RUNNING */
  bool inc_recover_only; /* only end the session that inc_prep_only began; CRS_RUNNING */
  /* Once the snapshot is durable all threads stand (SIGSTOP) until a debugger has them, or none has come
   * within parameter service.debugger_limit (60 s). Not together with term, stop, or detach_debugger, which
   * is what holds unless parameter service.attach_debugger says otherwise. Restarts are told by that
   * parameter. */
  bool attach_debugger;
  bool detach_debugger;
  uint64_t timeout_ns;     /* 0: no limit */
  const char* component;   /* the checkpointer's name, NULL: the best that can serve */
  const char* compression; /* "zstd", "lz4" or "none"; NULL: zstd */
  bool skip_dontdump;      /* leave out memory that is in no core dump (MADV_DONTDUMP): it returns as zeros */
} crs_checkpoint_options;
#define CRS_CHECKPOINT_OPTIONS_INIT \
  { sizeof(crs_checkpoint_options), 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0 }

/* Saves a process: this one (`pid` 0 or its own), or another. `options` and `state` may be NULL.
 *
 * Of this one: returns twice. In the process that goes on `*state` is CRS_CONTINUE; in one that is brought
 * back from the snapshot, at any time after, it is CRS_RESTART, and crs_restart_info() tells more. `snapshot`
 * is filled in both. With `term` it returns in the restored one only. While the caller is in a critical
 * section of its own: CRS_ERR_USAGE.
 *
 * Of another: returns when the snapshot is durable, with CRS_CONTINUE, or CRS_TERM after `term`.
 *
 * On any error `*state` is CRS_ERROR, nothing was saved and the process runs on. errors: all. */
CRS_PUBLIC int crs_checkpoint(pid_t pid, crs_snapshot* snapshot, const crs_checkpoint_options* options,
                              crs_state* state);

/* Brings a saved process back. `spawn_child`: as a child of the caller, whose pid is in `*child_pid` once it
 * runs; its end is told by waitpid(2). Otherwise the caller's own process becomes it, with its standard
 * streams, and this returns only on an error; what can be checked is checked before the caller is given up.
 * Of a snapshot of its own this is crs_rollback(); where that is refused, and of others', `crs restart` takes
 * the caller's place, the restored process is its child, and it ends as that does. `*child_pid` is written if
 * and only if a child was made. errors: all. */
CRS_PUBLIC int crs_restart(crs_snapshot* snapshot, bool spawn_child, pid_t* child_pid);

/* This process, with all its threads, goes back to a snapshot of its own, where it is: same pid, same parent,
 * same terminal. Returns only on an error, and then nothing has happened; in the process that went back the
 * crs_checkpoint() of that snapshot returns, with CRS_RESTART. What fails after the point of no return ends
 * the process (crs-rollback(1)). With children, or in a critical section of the caller's (CRS_ERR_USAGE), it
 * cannot go back; with several threads it needs root or CAP_CHECKPOINT_RESTORE. errors: all. */
CRS_PUBLIC int crs_rollback(crs_snapshot* snapshot);

/* A critical section: no checkpoint of this process is made between the two. They nest, within a thread and
 * between threads. A checkpoint that comes meanwhile waits, and tells its user for whom; the thread that
 * leaves its outermost section while one waits, waits until that is made. So hold no lock that others need in
 * their sections while leaving one. Async-signal-safe. */
CRS_PUBLIC int crs_disable_checkpoint(void);
CRS_PUBLIC int crs_enable_checkpoint(void); /* CRS_ERR_USAGE: this thread is in no section */
/* The same, with a name for the one who waits; `label` must stay valid until the section is left. */
CRS_PUBLIC int crs_disable_checkpoint_as(const char* label);
/* Does not enter (CRS_ERR_BUSY) while a checkpoint waits or is being made. */
CRS_PUBLIC int crs_try_disable_checkpoint(void);

/* Before a program is started: looks at the binary `*app` and makes `*argv`, `*env` and `*cwd` ready for it.
 * All are malloc'ed by the caller, arrays end with NULL, and what is changed is freed and malloc'ed anew.
 * `rank` is put into the environment (CRS_RANK), `base_snapshot_dir` too (CRS_STORE), unless it is NULL.
 * errors: CRS_ERR_NOT_FOUND, CRS_ERR_PERMISSION, CRS_ERR_REFUSED: such a program cannot be saved later,
 * crs_last_error() says why. */
CRS_PUBLIC int crs_prelaunch(int32_t rank, const char* base_snapshot_dir, char** app, char** cwd,
                             char*** argv, char*** env);

/* Optional: all threads are saved anyway. */
CRS_PUBLIC int crs_reg_thread(void);

/* --- Save points -------------------------------------------------------------------------------------------
 */

/* A state of this process in memory, to go back to and then to forget. Its own memory is held by a process
 * beside it, "crs-memory", which a fork made and which does nothing: that takes page tables, and a copy of
 * each page that is written later. The rest is below /dev/shm, else $XDG_RUNTIME_DIR. Where no such process
 * can be (a seccomp filter, RLIMIT_NPROC, a process that collects orphans), the memory is copied there as
 * well. A save point does not outlive its process: what one leaves that is killed, the next process of the
 * same user that makes a save point removes. */
typedef struct crs_savepoint crs_savepoint;

/* Returns twice, as crs_checkpoint() of oneself does: with CRS_CONTINUE, and with CRS_RESTART each time the
 * process went back to it; `*savepoint` is written in both. Save points that were made later are gone then:
 * their handles are of a life that never was. `state` may be NULL. errors: as of crs_checkpoint();
 * CRS_ERR_STORAGE: no place in memory. */
CRS_PUBLIC int crs_savepoint_create(crs_savepoint** savepoint, crs_state* state);

/* Returns only on an error, as crs_rollback() does, and does no more than it must: what has changed is put
 * back in the process that there is. It can undo writes to private memory, mappings, threads and descriptors
 * that are new, signal handlers, positions in files and what was appended to them. Where something else has
 * changed (shared anonymous memory, closed descriptors, timers, credentials and the like), and where a thread
 * has ended, the process is made anew as by crs_rollback(), which takes longer and may need rights. What is
 * cut off files is not kept. In a forked child, which has no save points: CRS_ERR_USAGE. */
CRS_PUBLIC int crs_savepoint_rollback(crs_savepoint* savepoint);

/* Removes it, and frees the handle also on an error. NULL is well. Needs no crs_init(). errors:
 * CRS_ERR_STORAGE. */
CRS_PUBLIC int crs_savepoint_release(crs_savepoint* savepoint);

/* --- Hooks
 * ---------------------------------------------------------------------------------------------------
 */

/* Functions of the program that are called around each checkpoint, whoever asks for it, and after a restart.
 * A thread of the library calls them, with all signals blocked, one after the other. */
typedef enum crs_phase {
  CRS_PHASE_PREPARE = 0,     /* get ready: in order, the lowest first */
  CRS_PHASE_PRE_IMAGE = 1,   /* all are ready, the image is taken next: in order */
  CRS_PHASE_POST_IMAGE = 2,  /* the image is taken: from here on in reverse order */
  CRS_PHASE_CONTINUE = 3,    /* go on, in the original; the image is being written */
  CRS_PHASE_RESTART_PRE = 4, /* in a restored process: let go of what did not survive */
  CRS_PHASE_RESTART = 5,     /* in a restored process: take up again */
  CRS_PHASE_ERROR = 6, /* no checkpoint: instead of POST_IMAGE, or behind CONTINUE when the image was lost */
  CRS_PHASE_TERM = 7   /* instead of POST_IMAGE: the snapshot is durable, the process ends next */
} crs_phase;

/* What a hook answers to PREPARE and PRE_IMAGE; to the others the answer does not matter. */
#define CRS_HOOK_OK 0
#define CRS_HOOK_NOT_YET 1 /* try again once crs_hook_retry() was called */
/* Any other answer is a failure: no checkpoint is made, and its requester is told the hook's name and answer.
 */
typedef int (*crs_hook_function)(crs_phase phase, void* context);

/* Registers a hook. `name` (not NULL) is for those who wait for it; hooks of one `order` are called as they
 * were registered. A requester waits as long as parameter service.hook_limit says (60 s). A hook may enter
 * critical sections, and may call nothing else of this library but crs_hook_retry(). A forked child has its
 * parent's hooks from its first crs_init() on. */
CRS_PUBLIC int crs_hook_register(const char* name, int order, crs_hook_function function, void* context,
                                 uint64_t* id);
/* Returns when it is not called any more. The last crs_finalize() does it for all. errors: CRS_ERR_USAGE. */
CRS_PUBLIC int crs_hook_unregister(uint64_t id);
/* A hook that answered CRS_HOOK_NOT_YET would not again. Async-signal-safe. */
CRS_PUBLIC int crs_hook_retry(void);

/* A quiesce session: all hooks get ready now (PREPARE, PRE_IMAGE), and stay so until crs_quiesce_end()
 * (POST_IMAGE, CONTINUE), however many checkpoints are made in between. It ends by itself after `lifetime_ns`
 * (0: never), with the thread that began it, and by a restart. errors: CRS_ERR_BUSY (there is one, or a
 * checkpoint is being made), CRS_ERR_REFUSED (by a hook). */
CRS_PUBLIC int crs_quiesce_begin(uint64_t lifetime_ns, uint32_t* token);
/* errors: CRS_ERR_USAGE (no such session), CRS_ERR_TIMEOUT (it had ended by itself). Of one that a restart
 * ended: CRS_SUCCESS. */
CRS_PUBLIC int crs_quiesce_end(uint32_t token);

/* --- Memory that is not saved ------------------------------------------------------------------------------
 */

/* Scratch memory, caches and what can be computed again need not be in a snapshot. Of an excluded range all
 * whole pages are left out; the bytes in the pages at its edges are saved, unless what is next to them is
 * excluded as well. Of private memory they come back as zeros, of a private mapping of a file as the file has
 * them, of shared memory of the process alone as zeros. Files that are mapped shared, and memory files, are
 * no memory of the process: nothing changes for them. In the process that goes on nothing changes either.
 *
 * Regions are ranges of addresses: what is mapped there at the moment of a checkpoint is meant, and where
 * nothing is they mean nothing. So forget a region before its memory is freed. They may overlap. `label` is
 * copied (79 bytes of it), and stands in the snapshot; `id` may be NULL. A forked child has its parent's; the
 * last crs_finalize() forgets all. They concern component native; self and none save no mappings.
 *
 * Saved whatever is excluded: the stack of a thread from its stack pointer on, where that points into the
 * excluded range, its thread-local storage, what the kernel and this library need. */

/* Rebuilds what was excluded, in each process that is brought back from a snapshot or has gone back to one;
 * save points leave nothing out, so nothing is rebuilt then. A thread of the library calls it, with all
 * signals blocked; one after the other, as they were excluded; and before anything else of the program runs:
 * the other threads stand where they stood in the image. So it must not wait for them, or for a lock that one
 * of them may have held: that of malloc(3) and of stdio(3) among them, unless hooks keep the others out of
 * there while the image is taken. It may make threads of its own, and may not call this library, critical
 * sections excepted. An answer other than 0, or more time than parameter service.hook_limit allows (60 s),
 * fails the restart: the process is ended, and the snapshot is as it was. */
typedef int (*crs_memory_rebuild)(void* pointer, size_t bytes, void* context);

/* `rebuild` may be NULL. errors: CRS_ERR_USAGE (no label, no address, 0 bytes, beyond the address space),
 * CRS_ERR_REFUSED (more than 1048576 regions). In a forked child, what is to be rebuilt is saved until its
 * first crs_init(). */
CRS_PUBLIC int crs_memory_exclude(const char* label, void* pointer, size_t bytes, crs_memory_rebuild rebuild,
                                  void* context, uint64_t* id);
/* This is saved all the same, with the rest of its pages, wherever it lies in what is excluded: to exclude an
 * arena and include parts of it is to save those only. It also holds against skip_dontdump. errors: as above.
 */
CRS_PUBLIC int crs_memory_include(const char* label, const void* pointer, size_t bytes, uint64_t* id);
/* From now on the region is nothing special. errors: CRS_ERR_USAGE (there is none with this id). */
CRS_PUBLIC int crs_memory_forget(uint64_t id);

/* --- State of one's own (component self) -------------------------------------------------------------------
 */

/* A program that knows what its state is can save that and no more. A restart starts the program anew,
 * perhaps another build of it on another machine, and the state is put back when the program says so. Nothing
 * is frozen: what is saved must not change meanwhile. Critical sections are kept out; all other threads the
 * checkpoint callback keeps out, until the continue callback. The last crs_finalize() forgets all of it. */

/* Memory that is saved and put back, by its name. errors: CRS_ERR_USAGE (the name is taken, or 0 bytes). */
CRS_PUBLIC int crs_self_protect(const char* name, void* pointer, size_t bytes);
/* Returns when no checkpoint reads it. errors: CRS_ERR_USAGE, CRS_ERR_BUSY (in a quiesce session). */
CRS_PUBLIC int crs_self_unprotect(const char* name);

/* 0: well. Any other answer of the checkpoint callback refuses the checkpoint. It and the continue callback
 * are called by the thread that calls hooks, when all hooks have got ready; the restart callback by
 * crs_self_restore(). `continue_` is called as well when a checkpoint fails that the callback had allowed.
 * Each may be NULL. Where none is registered they are looked for by name (dlsym(3)): PREFIX_checkpoint,
 * PREFIX_continue, PREFIX_restart, with `context` NULL; PREFIX is saved, and "crs_self_user" by default. */
typedef int (*crs_self_callback)(void* context);
CRS_PUBLIC int crs_self_set_callbacks(crs_self_callback checkpoint, crs_self_callback continue_,
                                      crs_self_callback restart, void* context);
CRS_PUBLIC int crs_self_set_prefix(const char* prefix);

/* How it is started again; no shell sees it. `argv[0]` is a path. NULL for `argv`, `cwd` or `env`: its own.
 */
CRS_PUBLIC int crs_self_set_restart_command(const char* const* argv, const char* cwd, const char* const* env);

/* Bytes under a name, copied; in the checkpoint callback only. */
CRS_PUBLIC int crs_self_write(const char* name, const void* bytes, size_t size);
/* Of the snapshot that crs_self_restore() loaded; valid until the last crs_finalize(). CRS_ERR_NOT_FOUND. */
CRS_PUBLIC int crs_self_read(const char* name, const void** bytes, size_t* size);

/* After all memory is protected, and before there are other threads. In a process that was started from a
 * snapshot of component self: loads the memory, calls the restart callback, and `*restarted` is 1; else 0.
 * errors: CRS_ERR_REFUSED (memory that the snapshot has not, or the other way round, or of another size: it
 * is named and nothing is loaded; or the restart callback failed, `*restarted` is 1 then),
 * CRS_ERR_BAD_SNAPSHOT. */
CRS_PUBLIC int crs_self_restore(int* restarted);

/* --- After a restart ---------------------------------------------------------------------------------------
 */

typedef struct crs_restart_information {
  size_t size;          /* set by the caller: sizeof(crs_restart_information) */
  uint64_t restarts;    /* how often this process was brought back, counted along its snapshots; 0: never */
  const char* snapshot; /* the directory it came from the last time; "" before */
} crs_restart_information;
CRS_PUBLIC int crs_restart_info(crs_restart_information* information);

/* In a process that component native brought back: the variable that its last restart handed over under this
 * name (at most 64 KiB of them). NULL: none. Valid for good; the next restart may hand over others.
 * Async-signal-safe, needs no crs_init(). */
CRS_PUBLIC const char* crs_restart_variable(const char* name);

/* --- The seed's table --------------------------------------------------------------------------------------
 */

/* The operations in the order of the interface that this service follows, for layers that call through a
 * table. */
typedef struct crs_module {
  int (*crs_init)(void);
  int (*crs_finalize)(void);
  int (*crs_checkpoint)(pid_t pid, crs_snapshot* snapshot, const crs_checkpoint_options* options,
                        crs_state* state);
  int (*crs_restart)(crs_snapshot* snapshot, bool spawn_child, pid_t* child_pid);
  int (*crs_disable_checkpoint)(void);
  int (*crs_enable_checkpoint)(void);
  int (*crs_prelaunch)(int32_t rank, const char* base_snapshot_dir, char** app, char** cwd, char*** argv,
                       char*** env);
  int (*crs_reg_thread)(void);
} crs_module;
CRS_PUBLIC extern const crs_module crs_operations;

/* --- Services ----------------------------------------------------------------------------------------------
 */

/* A service has parameters, a choice of components and states of its own; several may exist side by side. The
 * operations above are those of the process's default service, which NULL stands for. A service may be used
 * by one thread at a time; the default one by all. The gate (critical sections) belongs to the process. */
typedef struct crs_service crs_service;
CRS_PUBLIC int crs_service_create(crs_service** service);
CRS_PUBLIC void crs_service_destroy(crs_service* service); /* NULL is well */

/* Sets parameter "OWNER.NAME" for what follows; it comes before the environment and the config file
 * (crs-params(1)). errors: CRS_ERR_USAGE, by the call that uses it, with the nearest name. */
CRS_PUBLIC int crs_service_set_parameter(crs_service* service, const char* name, const char* value);

CRS_PUBLIC int crs_service_checkpoint(crs_service* service, pid_t pid, crs_snapshot* snapshot,
                                      const crs_checkpoint_options* options, crs_state* state);
CRS_PUBLIC int crs_service_restart(crs_service* service, crs_snapshot* snapshot, bool spawn_child,
                                   pid_t* child_pid);

CRS_PUBLIC int crs_service_rollback(crs_service* service, crs_snapshot* snapshot);

/* The state of the service and, in `history`, at most the last `*count` states, oldest first, the present one
 * among them; on return `*count` is how many were written. `history` and `count` may be NULL together. */
CRS_PUBLIC crs_state crs_service_state(crs_service* service, crs_state* history, size_t* count);

typedef struct crs_component_info {
  const char* name;
  const char* version;
  const char* summary;
  int priority;
  bool can_serve;
  bool chosen;         /* the one that a checkpoint of `pid` would use */
  const char* verdict; /* why, or why not */
} crs_component_info;

/* Calls `each` for every component, the best first, as `pid` would find them (0: this machine in general).
 * `context` is passed on; what `each` gets is valid during the call. */
CRS_PUBLIC int crs_service_list_components(crs_service* service, pid_t pid,
                                           void (*each)(const crs_component_info*, void* context),
                                           void* context);

typedef struct crs_parameter_info {
  const char* name; /* "OWNER.NAME" */
  const char* value;
  const char* default_value;
  const char* type;
  const char* help;
  const char* origin; /* where the value came from */
} crs_parameter_info;
CRS_PUBLIC int crs_service_list_parameters(crs_service* service,
                                           void (*each)(const crs_parameter_info*, void* context),
                                           void* context);

/* --- Operations in the background --------------------------------------------------------------------------
 */

/* A checkpoint or restart that a thread of the library has made while the caller goes on. All that a process
 * asks for, this way or by the calls above, is made one after the other, in that order; of another process
 * that asks at the same time one gets CRS_ERR_BUSY. A handle is used by one thread at a time, but for
 * crs_operation_cancel(). A forked child has copies of the handles, but no operations: all but
 * crs_operation_free() answer CRS_ERR_USAGE there. While one is going on, the last crs_finalize() answers
 * CRS_ERR_BUSY. */
typedef struct crs_operation crs_operation;

/* As crs_service_checkpoint(), NULL for the default service. The service and the snapshot are not to be
 * touched until the operation has ended; `options` are copied, and their time limit counts from here on. In a
 * process that is brought back from a snapshot of itself which was made this way, the operation has ended
 * with CRS_RESTART. errors: CRS_ERR_USAGE (also for inc_prep_only and inc_recover_only), CRS_ERR_OTHER (no
 * thread can be made). */
CRS_PUBLIC int crs_checkpoint_start(crs_service* service, pid_t pid, crs_snapshot* snapshot,
                                    const crs_checkpoint_options* options, crs_operation** operation);
/* As crs_service_restart() of a child. The program `crs` and what it restarts are children of the process as
 * there: a waitpid(2) for any child may see them. */
CRS_PUBLIC int crs_restart_start(crs_service* service, crs_snapshot* snapshot, crs_operation** operation);

/* Waits for its end, at most `timeout_ns` (0: looks only; UINT64_MAX: without limit). Its own result:
 * CRS_SUCCESS and
 * `*state` as of crs_checkpoint(), or CRS_RUNNING of a restart, whose child is in `*child_pid`; its error;
 * CRS_ERR_CANCELLED; or CRS_ERR_BUSY: it is still going on. `state` and `child_pid` may be NULL. May be
 * called again. */
CRS_PUBLIC int crs_operation_wait(crs_operation* operation, uint64_t timeout_ns, crs_state* state,
                                  pid_t* child_pid);

typedef struct crs_progress {
  size_t size;               /* set by the caller: sizeof(crs_progress) */
  const char* phase;         /* "queued", "started", what crs-checkpoint(1) tells under --events, "ended" */
  uint64_t done_bytes;       /* of memory that is saved */
  uint64_t total_bytes;      /* 0: not known yet */
  const char* delayed;       /* for whom it waits, in a sentence; "": it does not */
  uint64_t delayed_since_ns; /* CLOCK_MONOTONIC */
} crs_progress;
/* Where it is. The strings are valid until the next call for this operation. */
CRS_PUBLIC int crs_operation_progress(crs_operation* operation, crs_progress* progress);

/* A descriptor that poll(2) finds readable once it has ended. It belongs to the operation, and is only to be
 * looked at. */
CRS_PUBLIC int crs_operation_fd(const crs_operation* operation);

/* Asks it to end: one that waits in the queue never begins; of one that is being made nothing is left, and
 * the process that was to be saved runs on. Does not wait for that. One that is past its point of no return
 * ends as if nobody had asked. May be called from any thread. */
CRS_PUBLIC int crs_operation_cancel(crs_operation* operation);

/* Frees the handle; cancels one that is going on, and waits for its end. NULL is well. */
CRS_PUBLIC void crs_operation_free(crs_operation* operation);

#ifdef __cplusplus
}
#endif

#endif /* CRS_CRS_H */
