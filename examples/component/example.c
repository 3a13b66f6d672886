/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A component in one file, to begin one's own with: it saves how a program was started, and a restart starts
 * it again, from its beginning.
 *
 * That is of use for programs that keep their state in files of their own and pick it up when they start. It
 * is no checkpoint of their memory, so the component serves only when it is asked for by name, says so with
 * each snapshot, and can be confined to one program (parameter example.program).
 *
 * The snapshot has four files, each a copy of what /proc tells: `directory` and `executable` (a path each),
 * `arguments` and `environment` (texts that end in NUL). Nothing in them is ever handed to a shell.
 */
#define _GNU_SOURCE
#include <crs/component.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { largest_file = 4 << 20 }; /* more than the kernel lets a program have of arguments and environment */

/* A file's whole content, ended by a NUL of ours; malloc'ed. NULL: errno tells. */
static char* read_whole(int file, size_t* length) {
  char* text = malloc(largest_file + 1);
  size_t done = 0;
  while (text != NULL) {
    const ssize_t got = read(file, text + done, largest_file - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || done + (size_t)got == largest_file) {
      const int error = got < 0 ? errno : EFBIG;
      free(text);
      errno = error;
      return NULL;
    }
    if (got == 0) break;
    done += (size_t)got;
  }
  if (text != NULL) text[done] = '\0';
  *length = done;
  return text;
}

static char* read_named(int directory, const char* name, size_t* length) {
  const int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return NULL;
  char* const text = read_whole(file, length);
  const int error = errno;
  close(file);
  errno = error;
  return text;
}

static int write_whole(int directory, const char* name, const char* text, size_t length) {
  const int file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return -1;
  size_t done = 0;
  while (done < length) {
    const ssize_t put = write(file, text + done, length - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) break;
    done += (size_t)put;
  }
  const int error = errno;
  close(file);
  errno = error;
  return done == length ? 0 : -1;
}

/* --- Which processes it serves */

/* comm of the process, or of nobody: "". */
static void name_of(pid_t pid, char* name, size_t size) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
  FILE* const file = fopen(path, "re");
  if (file == NULL || fgets(name, (int)size, file) == NULL) name[0] = '\0';
  if (file != NULL) fclose(file);
  name[strcspn(name, "\n")] = '\0';
}

static int query(const crs_component_host* host, pid_t pid, bool by_name) {
  const char* const program = host->parameter(host, "program");
  host->capability(host, "saves the state", false, "a restart starts the program from its beginning");
  if (!by_name)
    return host->fail(host, CRS_ERR_UNSUPPORTED, 0,
                      "it saves no state, so it serves only when asked for by name", NULL);
  if (pid != 0 && program[0] != '\0') {
    char name[64];
    char reason[256];
    name_of(pid, name, sizeof name);
    snprintf(reason, sizeof reason,
             "it serves only programs called %.64s (example.program), and this one is %s", program, name);
    if (strcmp(name, program) != 0) return host->fail(host, CRS_ERR_UNSUPPORTED, 0, reason, NULL);
  }
  return CRS_SUCCESS;
}

/* --- Checkpoint */

static int wait_a_little(const crs_component_host* host) {
  long long milliseconds = atoll(host->parameter(host, "pause"));
  for (; milliseconds > 0; milliseconds -= 10) {
    const struct timespec step = {0, 10 * 1000 * 1000};
    if (host->passed(host))
      return host->fail(host, CRS_ERR_TIMEOUT, 0, "the time for the checkpoint has passed", NULL);
    nanosleep(&step, NULL);
  }
  return CRS_SUCCESS;
}

/* An error that names the file and says what errno says. */
static int fail_at(const crs_component_host* host, int code, const char* what, const char* name) {
  const int error = errno;
  char message[256];
  snprintf(message, sizeof message, "%s %s: %s", what, name, strerror(error));
  return host->fail(host, error == EACCES || error == EPERM ? CRS_ERR_PERMISSION : code, error, message,
                    NULL);
}

/* Where a link of /proc/PID leads, as a file of the snapshot. */
static int save_link(const crs_component_host* host, const crs_component_checkpoint* request,
                     const char* link, const char* name) {
  char path[64];
  char target[4096];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)request->pid, link);
  const ssize_t length = readlink(path, target, sizeof target);
  if (length < 0) return fail_at(host, CRS_ERR_NOT_FOUND, "read", path);
  if (write_whole(request->directory, name, target, (size_t)length) != 0)
    return fail_at(host, CRS_ERR_STORAGE, "write", name);
  return CRS_SUCCESS;
}

/* A file of /proc/PID, as one of the snapshot. */
static int save_file(const crs_component_host* host, const crs_component_checkpoint* request,
                     const char* entry, const char* name, uint64_t* bytes) {
  char path[64];
  size_t length = 0;
  snprintf(path, sizeof path, "/proc/%d/%s", (int)request->pid, entry);
  char* const text = read_named(AT_FDCWD, path, &length);
  if (text == NULL) return fail_at(host, CRS_ERR_NOT_FOUND, "read", path);
  int result = CRS_SUCCESS;
  if (write_whole(request->directory, name, text, length) != 0)
    result = fail_at(host, CRS_ERR_STORAGE, "write", name);
  free(text);
  *bytes += length;
  return result;
}

static int checkpoint(const crs_component_host* host, const crs_component_checkpoint* request,
                      crs_component_saved* saved) {
  host->phase(host, "write");
  int result = save_link(host, request, "cwd", "directory");
  if (result == CRS_SUCCESS) result = save_link(host, request, "exe", "executable");
  if (result == CRS_SUCCESS) result = wait_a_little(host);
  if (result == CRS_SUCCESS) result = save_file(host, request, "cmdline", "arguments", &saved->memory_bytes);
  if (result == CRS_SUCCESS) result = wait_a_little(host);
  if (result == CRS_SUCCESS)
    result = save_file(host, request, "environ", "environment", &saved->memory_bytes);
  if (result != CRS_SUCCESS) return result;
  /* What /proc told by number was of this process only if that lives still. */
  struct pollfd end = {request->pidfd, POLLIN, 0};
  if (poll(&end, 1, 0) != 0) return host->fail(host, CRS_ERR_NOT_FOUND, ESRCH, "the process has ended", NULL);
  saved->restorable = false;
  host->note(host, "component example saves no state: a restart starts the program from its beginning");
  return CRS_SUCCESS;
}

/* --- Restart */

/* Pointers to the texts, each ended by NUL, and NULL; malloc'ed. */
static char** split(char* text, size_t length) {
  size_t count = 0;
  for (size_t i = 0; i < length; i++) count += text[i] == '\0';
  char** const words = calloc(count + 2, sizeof *words);
  size_t at = 0;
  for (size_t i = 0; words != NULL && i < length; i += strlen(text + i) + 1) words[at++] = text + i;
  return words;
}

/* How to start the program; all malloc'ed. */
struct launch {
  char *directory, *executable, *arguments, *environment;
  char **argv, **envp;
};

static void forget(struct launch* launch) {
  free(launch->directory);
  free(launch->executable);
  free(launch->arguments);
  free(launch->environment);
  free(launch->argv);
  free(launch->envp);
}

/* Believes nothing of the files. False: they do not say how. forget() must follow in any case. */
static bool load(int directory, struct launch* launch) {
  size_t sizes[4] = {0, 0, 0, 0};
  launch->directory = read_named(directory, "directory", &sizes[0]);
  launch->executable = read_named(directory, "executable", &sizes[1]);
  launch->arguments = read_named(directory, "arguments", &sizes[2]);
  launch->environment = read_named(directory, "environment", &sizes[3]);
  if (launch->arguments != NULL) launch->argv = split(launch->arguments, sizes[2]);
  if (launch->environment != NULL) launch->envp = split(launch->environment, sizes[3]);
  return launch->directory != NULL && launch->directory[0] == '/' && launch->executable != NULL &&
         launch->executable[0] == '/' && launch->argv != NULL && launch->argv[0] != NULL &&
         launch->envp != NULL;
}

/* In the child. Returns only when the program cannot be started; errno tells. */
static void become(const crs_component_restart* request, const struct launch* launch) {
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (request->stdio == CRS_COMPONENT_STDIO_NULL) {
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; fd++) {
      if (null < 0 || dup2(null, fd) < 0) return;
    }
  }
  if (chdir(launch->directory) == 0) execve(launch->executable, launch->argv, launch->envp);
}

static int start(const crs_component_host* host, const crs_component_restart* request,
                 const struct launch* launch, pid_t* child) {
  int ends[2]; /* closed by execve(2), else it carries errno */
  int error = 0;
  if (pipe2(ends, O_CLOEXEC) != 0) return fail_at(host, CRS_ERR_OTHER, "make", "a pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    become(request, launch);
    error = errno;
    const ssize_t told = write(ends[1], &error, sizeof error);
    _exit(told == sizeof error ? 127 : 126);
  }
  close(ends[1]);
  ssize_t got = 0;
  do {
    got = pid > 0 ? read(ends[0], &error, sizeof error) : 0;
  } while (got < 0 && errno == EINTR);
  close(ends[0]);
  if (pid < 0) return fail_at(host, CRS_ERR_OTHER, "fork", "");
  if (got == 0) {
    *child = pid;
    return CRS_SUCCESS;
  }
  waitpid(pid, NULL, 0);
  errno = error;
  return fail_at(host, CRS_ERR_NOT_FOUND, "start", launch->executable);
}

static int restart(const crs_component_host* host, const crs_component_restart* request,
                   crs_component_restarted* restarted) {
  if (request->pid != CRS_COMPONENT_PID_AUTO || request->stdio == CRS_COMPONENT_STDIO_SAVED ||
      request->descriptor_count != 0) {
    return host->fail(host, CRS_ERR_UNSUPPORTED, 0,
                      "component example starts the program anew, with the streams of crs",
                      "leave out --pid, --fd and --stdio saved");
  }
  struct launch launch = {NULL, NULL, NULL, NULL, NULL, NULL};
  int result = CRS_ERR_BAD_SNAPSHOT;
  if (load(request->directory, &launch)) {
    result = start(host, request, &launch, &restarted->pid);
  } else {
    host->fail(host, result, 0, "the snapshot does not say how to start the program", NULL);
  }
  forget(&launch);
  return result;
}

/* --- Inspect */

static int inspect(const crs_component_host* host, int directory) {
  size_t length = 0;
  char* text = read_named(directory, "directory", &length);
  if (text != NULL) host->show(host, "directory", text);
  free(text);
  text = read_named(directory, "arguments", &length);
  if (text == NULL) return fail_at(host, CRS_ERR_BAD_SNAPSHOT, "read", "arguments");
  for (size_t i = 0; i + 1 < length; i++) {
    if (text[i] == '\0') text[i] = ' ';
  }
  host->show(host, "arguments", text);
  free(text);
  return CRS_SUCCESS;
}

/* --- What crs finds */

static const crs_component_parameter parameters[] = {
    {"program", CRS_COMPONENT_TEXT, "", "the name of the only program that it serves; empty: all", 0, 0},
    {"pause", CRS_COMPONENT_INTEGER, "0",
     "milliseconds to wait before each file, to try out what an interruption leaves", 0, 60000},
};

const crs_component_definition crs_component = {
    .size = sizeof(crs_component_definition),
    .type = CRS_COMPONENT_TYPE,
    .interface_version = CRS_COMPONENT_INTERFACE,
    .name = "example",
    .version = "1.0.0",
    .summary = "starts the program again by its command line (only when asked for by name)",
    .priority = -10,
    .verbosity = 0,
    .parameters = parameters,
    .parameter_count = sizeof parameters / sizeof parameters[0],
    .parameter_size = sizeof parameters[0],
    .query = query,
    .checkpoint = checkpoint,
    .finish = NULL, /* nothing is held still; crs ends or stops the process itself */
    .restart = restart,
    .inspect = inspect,
};
