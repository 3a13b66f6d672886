/* SPDX-License-Identifier: Apache-2.0 */
/*
 * self_state [WORDS...]: a program that saves its own state. Reads commands, one a line, and answers each by
 * one line: "save DIRECTORY", "set TEXT", "show", "fail" (the callback will, from now on), "end".
 * A file "mode" may say: "symbols" (callbacks by name), "prefix" (by another name), "more" (a region more),
 * "less" (none), "large" (of another size), "command" (it is restarted with other words, in the folder
 * "there", and with no variable but ONE). "where" tells of the last two.
 */
#include <crs/crs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))
static char text[100], other[9000];
static int failing, continued;

static int save(const char* how) {
  if (failing) return 7;
  return crs_self_write("how", how, strlen(how) + 1) == CRS_SUCCESS &&
                 crs_self_write("empty", "", 0) == CRS_SUCCESS
             ? 0
             : 8;
}
static int restored(const char* how) {
  const void *bytes = NULL, *none = NULL;
  size_t size = 0, zero = 1;
  if (crs_self_read("how", &bytes, &size) != CRS_SUCCESS || size != strlen(how) + 1) return 1;
  if (crs_self_read("empty", &none, &zero) != CRS_SUCCESS || zero != 0) return 2;
  return strcmp(bytes, how) == 0 ? 0 : 3;
}
static int my_checkpoint(void* context) {
  return save(context);
}
static int my_continue(void* context) {
  (void)context;
  continued++;
  return 0;
}
static int my_restart(void* context) {
  return restored(context);
}

VISIBLE int crs_self_user_checkpoint(void* context) {
  (void)context;
  return save("symbols");
}
VISIBLE int crs_self_user_restart(void* context) {
  (void)context;
  return restored("symbols");
}
VISIBLE int solver_checkpoint(void* context) {
  (void)context;
  return save("prefix");
}
VISIBLE int solver_restart(void* context) {
  (void)context;
  return restored("prefix");
}

static void tell(int result) {
  printf("%s %s\n", crs_result_text(result), result == CRS_SUCCESS ? "" : crs_last_error()->message);
}

int main(int argc, char** argv) {
  static char registered[] = "registered";
  char mode[20] = "";
  FILE* const file = fopen("mode", "r");
  int again = -1;
  char line[4096];
  if (file != NULL) {
    if (fgets(mode, sizeof mode, file) == NULL) mode[0] = '\0';
    fclose(file);
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (crs_init() != CRS_SUCCESS) return 1;
  if (strcmp(mode, "less") != 0) crs_self_protect("text", text, strcmp(mode, "large") == 0 ? 99 : 100);
  crs_self_protect("other", other, sizeof other);
  if (strcmp(mode, "more") == 0) crs_self_protect("third", line, 10);
  if (strcmp(mode, "prefix") == 0 && getenv("CRS_SELF_STATE") == NULL) crs_self_set_prefix("solver");
  if (strcmp(mode, "symbols") != 0 && strcmp(mode, "prefix") != 0)
    crs_self_set_callbacks(my_checkpoint, my_continue, my_restart, registered);
  if (strcmp(mode, "command") == 0) {
    char there[4200] = "";
    const char* words[] = {argv[0], "other words", "", NULL};
    const char* variables[] = {"ONE=of its own", NULL};
    if (getcwd(there, 4096) == NULL) return 5;
    strcat(there, "/there");
    if (crs_self_set_restart_command(words, there, variables) != CRS_SUCCESS) return 6;
  }
  const int result = crs_self_restore(&again);
  if (result != CRS_SUCCESS) {
    printf("restarted %d, ", again);
    tell(result);
    return 3;
  }
  crs_restart_information information = {.size = sizeof information};
  crs_restart_info(&information);
  printf("restarted %d of %d, ", again, (int)information.restarts);
  tell(result);
  for (int i = 1; i < argc; i++) printf("[%s]", argv[i]);
  printf("\n");
  while (fgets(line, sizeof line, stdin) != NULL) {
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "save ", 5) == 0) {
      crs_checkpoint_options options = CRS_CHECKPOINT_OPTIONS_INIT;
      crs_snapshot* snapshot = NULL;
      crs_state state;
      options.component = "self";
      crs_snapshot_create(&snapshot);
      crs_snapshot_set_directory(snapshot, line + 5);
      tell(crs_checkpoint(0, snapshot, &options, &state));
      crs_snapshot_free(snapshot);
    } else if (strncmp(line, "set ", 4) == 0) {
      snprintf(text, sizeof text, "%.99s", line + 4);
      memset(other, text[0], sizeof other);
      printf("set\n");
    } else if (strcmp(line, "fail") == 0) {
      failing = 1;
      printf("failing\n");
    } else if (strcmp(line, "show") == 0) {
      for (size_t i = 0; i < sizeof other; i++) {
        if (other[i] != text[0]) return 4;
      }
      printf("text %s, continued %d\n", text, continued);
    } else if (strcmp(line, "where") == 0) {
      char here[4096] = "";
      printf("%s ONE %s HOME %s\n", getcwd(here, sizeof here) != NULL ? here : "nowhere",
             getenv("ONE") != NULL ? getenv("ONE") : "(none)",
             getenv("HOME") != NULL ? "is there" : "(none)");
    } else if (strcmp(line, "end") == 0) {
      break;
    }
  }
  tell(crs_finalize());
  return 9;
}
