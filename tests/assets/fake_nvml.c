/* A libnvidia-ml.so.1 whose GPUs are the lines of a text file, read anew at every nvmlInit:

       FREE_MIB TOTAL_MIB [lost] [hang] [binary] [mig=N] [refuses|foreign|unknown]
                                                     one line per GPU, divided into N instances
       driver fails|dies|prints|hang                 the driver itself, whatever the GPUs

   Who hangs in it writes its pid beside that file, with the suffix .hangs.

   What a process has on a GPU stands as MiB in the folder with the suffix .held, in a file GPU.PID, and is not free
   then. The processes of a GPU are told so, or they are not (refuses), under pids of elsewhere (foreign), or without
   what they have (unknown). Each time that a process is counted, its file in the folder .counted grows by a byte.
*/
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
enum { MAX_GPUS = 16, LINE = 256, FOREIGN = 1 << 23 };
enum telling { TELLS, REFUSES, TELLS_FOREIGN, TELLS_UNKNOWN };

struct gpu {
    unsigned long long free_mib, total_mib;
    int is_lost, hangs, is_binary;
    enum telling telling;
    unsigned int n_instances, instance;
};
struct process { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; };
struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned int version; unsigned long long total, reserved, free, used; };

static struct gpu gpus[MAX_GPUS], instances[MAX_GPUS][MAX_GPUS];
static unsigned int n_gpus;
static char text[LINE];

__attribute__((noreturn)) static void hang(void)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s.hangs", getenv("FAKE_NVML_STATE"));
    file = fopen(path, "w");
    if (file) {
        fprintf(file, "%d", (int)getpid());
        fclose(file);
    }
    for (;;)
        pause();
}

static int obey(const char *line)
{
    if (strstr(line, "fails"))
        return DRIVER_NOT_LOADED;
    if (strstr(line, "dies"))
        abort();
    if (strstr(line, "prints") && write(1, "NVML: mismatch\n", 15) != 15)
        abort();
    if (strstr(line, "hang"))
        hang();
    return SUCCESS;
}

static void count(const char *name)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s.counted/%s", getenv("FAKE_NVML_STATE"), name);
    file = fopen(path, "a");
    if (file) {
        fputc('x', file);
        fclose(file);
    }
}

/* Fills in what processes have on a GPU, or only counts it; returns the MiB of all of them. */
static unsigned long long held(unsigned int index, struct process *told, unsigned int *n)
{
    char path[4096 + 256];
    unsigned long long mib, sum = 0;
    unsigned int gpu, pid;
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "%s.held", getenv("FAKE_NVML_STATE"));
    folder = opendir(path);
    while (folder && (entry = readdir(folder))) {
        FILE *file;
        if (sscanf(entry->d_name, "%u.%u", &gpu, &pid) != 2 || gpu != index)
            continue;
        snprintf(path, sizeof path, "%s.held/%s", getenv("FAKE_NVML_STATE"), entry->d_name);
        file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%llu", &mib) == 1) {
            sum += mib;
            if (told)
                told[(*n)++] = (struct process){pid, mib << 20, ~0U, ~0U};
            else
                count(entry->d_name);
        }
        fclose(file);
    }
    if (folder)
        closedir(folder);
    return sum;
}

int nvmlInitWithFlags(unsigned int flags)
{
    const char *path = getenv("FAKE_NVML_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    int result = SUCCESS;

    (void)flags;
    n_gpus = 0;
    if (!file)
        return DRIVER_NOT_LOADED;
    while (result == SUCCESS && n_gpus < MAX_GPUS && fgets(text, sizeof text, file)) {
        struct gpu *gpu = &gpus[n_gpus];
        if (!strncmp(text, "driver", 6)) {
            result = obey(text);
        } else if (sscanf(text, "%llu %llu", &gpu->free_mib, &gpu->total_mib) == 2) {
            gpu->is_lost = strstr(text, "lost") != NULL;
            gpu->hangs = strstr(text, "hang") != NULL;
            gpu->telling = strstr(text, "refuses")   ? REFUSES
                           : strstr(text, "foreign") ? TELLS_FOREIGN
                           : strstr(text, "unknown") ? TELLS_UNKNOWN
                                                     : TELLS;
            gpu->is_binary = strstr(text, "binary") != NULL;
            gpu->n_instances = strstr(text, "mig=") ? (unsigned int)atoi(strstr(text, "mig=") + 4) : 0;
            n_gpus++;
        }
    }
    fclose(file);
    return result;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code)
{
    snprintf(text, sizeof text, "error %d", code);
    return text;
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    *count = n_gpus;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct gpu **device)
{
    if (index >= n_gpus)
        return INVALID_ARGUMENT;
    *device = &gpus[index];
    return (*device)->is_lost ? GPU_IS_LOST : SUCCESS;
}

int nvmlDeviceGetMemoryInfo(struct gpu *device, struct memory *memory)
{
    if (device->hangs)
        hang();
    memory->total = device->total_mib << 20;
    memory->free = (device->free_mib - held((unsigned int)(device - gpus), NULL, NULL)) << 20;
    memory->used = memory->total - memory->free;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *device, unsigned int *n, struct process *told)
{
    unsigned int i;

    if (device->telling == REFUSES)
        return NOT_SUPPORTED;
    *n = 0;
    held((unsigned int)(device - gpus), told, n);
    for (i = 0; i < *n; i++) {
        if (device->telling == TELLS_FOREIGN)
            told[i].pid += FOREIGN;
        if (device->telling == TELLS_UNKNOWN)
            told[i].used = ~0ULL;
    }
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(struct gpu *device, struct memory_v2 *memory)
{
    struct memory plain;

    nvmlDeviceGetMemoryInfo(device, &plain);
    memory->total = plain.total;
    memory->free = plain.free;
    memory->used = plain.used;
    memory->reserved = 0;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(struct gpu *device, unsigned int *current, unsigned int *pending)
{
    *current = *pending = device->n_instances > 0;
    return SUCCESS;
}

int nvmlDeviceGetMaxMigDeviceCount(struct gpu *device, unsigned int *count)
{
    (void)device;
    *count = 7;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(struct gpu *device, unsigned int index, struct gpu **instance)
{
    struct gpu *found = &instances[device - gpus][index];

    if (index >= device->n_instances)
        return NOT_FOUND;
    *found = *device;
    found->free_mib /= device->n_instances;
    found->total_mib /= device->n_instances;
    found->instance = index + 1;
    *instance = found;
    return SUCCESS;
}

int nvmlDeviceGetUUID(struct gpu *device, char *uuid, unsigned int length)
{
    if (device->instance) {
        snprintf(uuid, length, "MIG-%08x-1111-2222-3333-444444444444", (unsigned int)(device - instances[0]));
        return SUCCESS;
    }
    snprintf(uuid, length, "GPU-%08x-1111-2222-3333-444444444444", (unsigned int)(device - gpus));
    return SUCCESS;
}

int nvmlDeviceGetName(struct gpu *device, char *name, unsigned int length)
{
    snprintf(name, length, device->is_binary ? "Fake \xff\xfe" : "Fake GPU");
    return SUCCESS;
}
