/* SPDX-License-Identifier: Apache-2.0 */
/*
 * component.h: a checkpointer of one's own behind `crs`, as a shared object.
 *
 * A component is a file crs-component-NAME.so that exports one constant, `crs_component`. `crs` loads it from
 * the folders in parameter service.component_path (absolute, separated by ':'; by default
 * LIBDIR/crs/components of its installation), lists it in `crs components` and chooses it as it chooses its
 * own. The guide is docs/components.md, a complete one is examples/component/ in the sources.
 *
 * What holds for all functions
 * - They run inside `crs`, in one thread, one at a time. What they open is close-on-exec, what they do to
 *   signals, the working directory or the umask they undo before they return. They print nothing.
 * - Result: CRS_SUCCESS or what crs_component_host.fail() returned. `crs` shows the error.
 * - Every struct begins with its size as the one who made it was compiled. Fields may be added behind the
 * last one; look at the size before you use a field that came later than 2.0.0.
 * - Pointers that are passed in are borrowed for the call. Strings are UTF-8 unless they are paths.
 * - The process comes first: whatever fails, and also when `crs` is killed, it must run on as it was.
 */
#ifndef CRS_COMPONENT_H
#define CRS_COMPONENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "crs.h" /* crs_result; nothing of libcrs is called */

#ifdef __cplusplus
extern "C" {
#endif

#define CRS_COMPONENT_TYPE "crs"
#define CRS_COMPONENT_INTERFACE "2.0.0" /* MAJOR must be that of crs, MINOR at most that of crs */

/* --- What crs gives a component --- */

typedef struct crs_component_host crs_component_host;
struct crs_component_host {
  size_t size;
  void* handle; /* of crs */
  /* The value of the component's own parameter; NULL when it declared none of that name. */
  const char* (*parameter)(const crs_component_host* host, const char* name);
  /* Notes an error: `code` is a crs_result below CRS_SUCCESS, `error_number` an errno or 0, `message` one
   * sentence that says what failed, `hint` what to do about it or NULL. Returns `code`. */
  int (*fail)(const crs_component_host* host, int code, int error_number, const char* message,
              const char* hint);
  /* True once the deadline has passed or the user has pressed Ctrl-C: then undo, and return
   * fail(CRS_ERR_TIMEOUT). Ask before everything that takes long. */
  bool (*passed)(const crs_component_host* host);
  /* True while a thread of the process is in a critical section (libcrs). None was when checkpoint() was
   * called; ask again once the process stands still, and let it go on for a while if so. */
  bool (*in_critical_section)(const crs_component_host* host);
  void (*phase)(const crs_component_host* host, const char* name); /* "freeze", "memory": what comes next */
  void (*progress)(const crs_component_host* host, uint64_t done, uint64_t total); /* bytes */
  void (*note)(const crs_component_host* host, const char* sentence);              /* a warning */
  /* For query(): something it can do or not, and how or why not. */
  void (*capability)(const crs_component_host* host, const char* name, bool present, const char* detail);
  /* For inspect(): one line of what is in the snapshot. */
  void (*show)(const crs_component_host* host, const char* name, const char* value);
};

/* --- Parameters --- */

typedef enum crs_component_parameter_type {
  CRS_COMPONENT_BOOLEAN = 0, /* the value is one of yes, no, 1, 0, true, false, on, off */
  CRS_COMPONENT_INTEGER = 1,
  CRS_COMPONENT_TEXT = 2
} crs_component_parameter_type;

/* Named NAME.name like those of crs itself (crs-params(1)). Every component has `priority` and `verbose`. */
typedef struct crs_component_parameter {
  const char* name; /* lower case letters, digits, '-' */
  int type;         /* crs_component_parameter_type */
  const char* default_value;
  const char* help;
  int64_t minimum, maximum; /* of integers, both included */
} crs_component_parameter;

/* --- Checkpoint --- */

typedef enum crs_component_after {
  CRS_COMPONENT_RUN = 0,
  CRS_COMPONENT_TERM = 1, /* the process ends once the snapshot is durable */
  CRS_COMPONENT_STOP = 2  /* it is stopped by SIGSTOP then */
} crs_component_after;

typedef struct crs_component_checkpoint {
  size_t size;
  pid_t pid;
  int pidfd;                  /* of the process; its number cannot become another's */
  int directory;              /* of the new snapshot, hidden so far: write files here, see checkpoint() */
  const char* directory_path; /* the same by name */
  int after;                  /* crs_component_after */
  uint64_t timeout_ns;        /* what is left until the deadline; 0: no limit */
} crs_component_checkpoint;

/* Filled by the component; zeros at the call, but for `size`. */
typedef struct crs_component_saved {
  size_t size;
  uint64_t memory_bytes; /* raw */
  uint64_t stop_ns;      /* how long the process stood still */
  bool restorable;       /* false: a restart begins the program anew */
} crs_component_saved;

/* --- Restart --- */

typedef enum crs_component_choice {
  CRS_COMPONENT_PID_AUTO = 0, /* --pid: the old pid if it can be had */
  CRS_COMPONENT_PID_SAME = 1, /* or fail */
  CRS_COMPONENT_PID_NAMESPACE = 2,
  CRS_COMPONENT_FILES_ROLLBACK = 0, /* --files: what grew since is cut */
  CRS_COMPONENT_FILES_KEEP = 1,
  CRS_COMPONENT_FILES_REFUSE = 2,
  CRS_COMPONENT_STDIO_AUTO = 0, /* --stdio */
  CRS_COMPONENT_STDIO_INHERIT = 1,
  CRS_COMPONENT_STDIO_SAVED = 2,
  CRS_COMPONENT_STDIO_NULL = 3
} crs_component_choice;

typedef struct crs_component_descriptor { /* --fd NUMBER=PATH */
  int number;
  const char* path;
} crs_component_descriptor;

typedef struct crs_component_restart {
  size_t size;
  int directory; /* of the snapshot: read only. Every file has the bytes that checkpoint() wrote */
  const char* directory_path; /* the same by name */
  pid_t saved_pid;            /* the pid that the process had */
  int pid, files, stdio;      /* crs_component_choice; what cannot be done is CRS_ERR_UNSUPPORTED */
  const crs_component_descriptor* descriptors;
  size_t descriptor_count;
  bool allow_changed_files, ignore_cpu;
  bool parent_waits;   /* crs stays until the program ends, else it leaves at once */
  uint64_t timeout_ns; /* what is left until the deadline; 0: no limit */
} crs_component_restart;

/* Filled by the component; zeros at the call, but for `size`. */
typedef struct crs_component_restarted {
  size_t size;
  pid_t pid;        /* the program */
  pid_t child;      /* the child of crs whose end is its end; 0: `pid` itself */
  bool leads_group; /* it leads a process group of its own, and is lent the terminal */
} crs_component_restarted;

/* --- The component --- */

typedef struct crs_component_definition {
  size_t size;                   /* sizeof(crs_component_definition) */
  const char* type;              /* CRS_COMPONENT_TYPE */
  const char* interface_version; /* CRS_COMPONENT_INTERFACE */
  const char* name;              /* as in the file's name: a lower case letter, then those, digits and '-' */
  const char* version;           /* its own */
  const char* summary;           /* one line for `crs components` */
  int priority;                  /* -1000 to 1000; the highest that can serve is chosen. native has 50 */
  int verbosity;                 /* 0, or 1: phases are told */
  const crs_component_parameter* parameters;
  size_t parameter_count; /* at most 64 */
  size_t parameter_size;  /* sizeof(crs_component_parameter) */

  /* Can it serve `pid` (0: this machine in general)? CRS_SUCCESS, or fail() with the reason. Cheap, stops
   * nobody. `by_name`: the user asked for this component, or the snapshot is one of its own. */
  int (*query)(const crs_component_host* host, pid_t pid, bool by_name);

  /* Saves the process as plain files in request->directory; no folders, no links, no name that begins with
   * '.', "manifest", "state" or "pages-". crs makes them durable, lists them in the manifest with their
   * checksums and commits; on an error it removes them. Then finish() is called. */
  int (*checkpoint)(const crs_component_host* host, const crs_component_checkpoint* request,
                    crs_component_saved* saved);

  /* After each checkpoint() that succeeded: the snapshot is durable (`committed`), or there will be none. A
   * component that holds the process still until then lets it go on here, ends or stops it as request->after
   * says (if committed). May be NULL: crs sends SIGKILL or SIGSTOP itself, and what the process does between
   * checkpoint() and that is not in the snapshot. */
  int (*finish)(const crs_component_host* host, const crs_component_checkpoint* request, bool committed);

  /* Makes a process from the files, as a child of the caller. On an error none is left. */
  int (*restart)(const crs_component_host* host, const crs_component_restart* request,
                 crs_component_restarted* restarted);

  /* Tells what is in the snapshot, by host->show(). May be NULL. */
  int (*inspect)(const crs_component_host* host, int directory);
} crs_component_definition;

/* What a component exports: `const crs_component_definition crs_component = { sizeof crs_component, ... };`
 */
CRS_PUBLIC extern const crs_component_definition crs_component;

#ifdef __cplusplus
}
#endif

#endif /* CRS_COMPONENT_H */
