/* load: a load generator for WebSocket servers, on one core.
 *
 * Opens clients, plays a greeting with each, then has some of them send and counts what reaches whom, and when. It knows
 * no application protocol: the greeting and the form of a message are templates, and a message is found in whatever
 * comes by a marker with the time it was sent at. So the same generator drives every peer of the comparison.
 *
 * On standard output: a line "ready" when all clients are greeted (the time it took, in JSON), a line "start" and a line
 * "end" around the measured part, so that the caller can read the server's CPU time at these moments, and one line of
 * JSON with the figures. Latencies are from the time a message was due (open loop) or sent (closed loop).
 *
 * A held generator (--hold) is told on standard input what to do: "cut" closes every connection at once, opens them
 * again with the greeting of --again, and answers "back" with how long each took; any other line ends it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"

#define MARK "@@"                 /* stands before each message's time and sender */
#define MARKED 26                 /* bytes from the marker to the end of the sender's number: @@<16>@<6>@ */
#define BUFFER (256 * 1024)
#define STEPS 16
#define SLOTS 1024                /* the most requests that one sender has under way */
#define FIRST_NUMBER 100          /* of a sender's requests; the greeting uses smaller ones */
#define REPLY_MOST 40             /* bytes that show whether a reply is a refusal; every reply is longer */
#define GREETING_SECONDS 150

enum { HANDSHAKE, GREETING, READY, GONE };

struct client {
  int fd, state, step, in_flight;
  int carried;                    /* bytes of `carry` in use: the end of the last read, where a marker may be cut */
  char carry[512];
  char *waiting;                  /* bytes that the socket did not take */
  size_t waiting_size;
  long offset;                    /* the last one that a reply of the greeting named, for %o */
  long number;                    /* of its last request */
  double *asked;                  /* when its requests were due, by number modulo SLOTS */
};

struct greeting { char *steps[STEPS]; int count; };
struct lines { char **at; int count; };

static const char *host = "127.0.0.1", *path = "/", *prefix = "", *suffix = "", *reply = "";
static const char *headers[8];
static int header_count, port, count = 1, rooms = 1, senders = 1, flight = 1, silent, concurrency = 128, binary;
static int payload = 128;
static double rate, seconds = 5, warm = 1, settle;
static struct greeting first, again, *greeting = &first;
static struct lines tokens, names;

static struct client *clients;
static double cut_at;
static int poller, opened, greeted, lost, measuring, ended;
static double window_start, window_end; /* what is due in between is owed to those who listen */
static uint64_t delivered, reads, sent, bytes, owed, arrived, refused;
static struct latencies deliveries, replies, returns;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "load: ");
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  exit(1);
}

/* Fill a template; usage() lists what it may hold. Returns the length. */
static int fill(char *out, size_t size, const char *template, int number) {
  size_t at = 0;
  for (const char *c = template; *c && at + 1 < size; c++) {
    if (*c == '\\' && (c[1] == 'r' || c[1] == 'n' || c[1] == '\\')) {
      c++;
      out[at++] = *c == 'r' ? '\r' : *c == 'n' ? '\n' : '\\';
    } else if (*c == '%' && c[1]) {
      c++;
      char text[64];
      const char *value = text;
      if (*c == 'i') snprintf(text, sizeof text, "%d", number);
      else if (*c == 'r' && names.count) value = names.at[number % rooms % names.count];
      else if (*c == 'r') snprintf(text, sizeof text, "%d", number % rooms);
      else if (*c == 'o') snprintf(text, sizeof text, "%ld", clients[number].offset);
      else if (*c == 'q') snprintf(text, sizeof text, "%ld", clients[number].number);
      else if (*c == 'u') snprintf(text, sizeof text, "%x-%x-%lx", getpid(), number, clients[number].number);
      else if (*c == 'n') snprintf(text, sizeof text, "%d", payload);
      else if (*c == 't') value = tokens.count ? tokens.at[number % tokens.count] : "";
      else { text[0] = *c; text[1] = 0; }
      size_t length = strlen(value);
      if (at + length >= size) fail("a template becomes too long");
      memcpy(out + at, value, length);
      at += length;
    } else out[at++] = *c;
  }
  out[at] = 0;
  return (int)at;
}

static void put(struct client *c, const char *data, size_t size) {
  if (!c->waiting_size) {
    ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);
    if (n == (ssize_t)size) return;
    if (n < 0 && errno != EAGAIN) return; /* its end is seen when reading */
    if (n > 0) { data += n; size -= n; }
  }
  c->waiting = realloc(c->waiting, c->waiting_size + size);
  memcpy(c->waiting + c->waiting_size, data, size);
  c->waiting_size += size;
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Write one frame, masked with zeros (RFC 6455 asks for a mask, not for a good one in a benchmark). */
static void put_frame(struct client *c, const char *text, size_t size) {
  char frame[8192];
  size_t at = 0;
  if (size > sizeof frame - 16) fail("a frame of %zu bytes is too long", size);
  frame[at++] = (char)(binary ? 0x82 : 0x81);
  if (size < 126) frame[at++] = (char)(0x80 | size);
  else {
    frame[at++] = (char)(0x80 | 126);
    frame[at++] = (char)(size >> 8);
    frame[at++] = (char)size;
  }
  memset(frame + at, 0, 4);
  at += 4;
  memcpy(frame + at, text, size);
  put(c, frame, at + size);
}

/* How many of the generator's clients read what is said in a client's room. */
static int listeners(int number) {
  int found = 0;
  for (int i = number % rooms; i < count - silent; i += rooms) found++;
  return found;
}

static void say(struct client *c, double due) {
  char text[8192];
  due = (floor(due * 1e6) + 0.5) / 1e6; /* as whoever reads it will know it */
  int number = (int)(c - clients);
  c->number = c->number ? c->number + 1 : FIRST_NUMBER;
  if (*reply) {
    if (!c->asked) c->asked = calloc(SLOTS, sizeof *c->asked);
    c->asked[c->number % SLOTS] = due;
  }
  int at = fill(text, sizeof text, prefix, number);
  if (at + payload + 64 > (int)sizeof text) fail("the payload is too long");
  int start = at;
  at += sprintf(text + at, MARK "%016llu@%06d@", (unsigned long long)(due * 1e6), number);
  while (at - start < payload) text[at++] = 'x';
  at += fill(text + at, sizeof text - at, suffix, number);
  put_frame(c, text, at);
  if (measuring) sent++;
  if (due >= window_start && due < window_end) owed += listeners(number);
}

static void open_one(void) {
  struct client *c = &clients[opened];
  c->state = HANDSHAKE;
  c->step = c->carried = c->in_flight = 0;
  c->waiting_size = 0;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0) fail("no more sockets (raise ulimit -n)");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) fail("cannot connect: %s", strerror(errno));
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
  char request[4096], target[1024];
  fill(target, sizeof target, path, opened);
  int at = snprintf(request, sizeof request,
                    "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
                    target, host, port);
  for (int i = 0; i < header_count; i++) {
    at += fill(request + at, sizeof request - at, headers[i], opened);
    at += snprintf(request + at, sizeof request - at, "\r\n");
  }
  at += snprintf(request + at, sizeof request - at, "\r\n");
  put(c, request, at);
  opened++;
}

/* Go on with the greeting: send what is to be sent, until something is expected or all is done. */
static void greet(struct client *c) {
  while (c->step < greeting->count && greeting->steps[c->step][0] == '>') {
    char text[4096];
    int size = fill(text, sizeof text, greeting->steps[c->step] + 2, (int)(c - clients));
    put_frame(c, text, size);
    c->step++;
  }
  if (c->step < greeting->count) return;
  c->state = READY;
  c->carried = 0;
  greeted++;
  if (greeting == &again) note_latency(&returns, now() - cut_at);
  if (c - clients >= count - silent) epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
}

/* Look for what is expected in what has come. Returns whether there was a step forward. */
static int advance(struct client *c, const char *data, size_t size) {
  if (c->state == HANDSHAKE) {
    if (!memmem(data, size, "\r\n\r\n", 4)) return 0;
    if (!memmem(data, size, " 101 ", 5)) fail("refused: %.*s", (int)size, data);
    c->state = GREETING;
    greet(c);
    return 1;
  }
  char expected[512];
  int length = fill(expected, sizeof expected, greeting->steps[c->step] + 2, (int)(c - clients));
  if (!memmem(data, size, expected, length)) return 0;
  const char *offset = greeting == &first ? memmem(data, size, "\"offset\":", 9) : NULL;
  if (offset) c->offset = atol(offset + 9); /* what follows it is in the buffer, or ends at its zero */
  c->step++;
  greet(c);
  return 1;
}

/* Return where the next marker is, NULL for nowhere: its first byte is rare, and memchr looks at many bytes at a time. */
static const char *next_mark(const char *from, const char *end) {
  while ((from = memchr(from, MARK[0], end - from)) && end - from >= 2 && from[1] != MARK[1]) from++;
  return from && end - from >= 2 ? from : NULL;
}

/* Count the messages in what has come. Returns where the first begins that is not whole yet, or the end. */
static const char *count_messages(struct client *c, const char *data, const char *end, double at) {
  const char *mark = data;
  while ((mark = next_mark(mark, end)) && end - mark >= MARKED) {
    int sender = atoi(mark + 19);
    double due = (strtoull(mark + 2, NULL, 10) + 0.5) / 1e6;
    if (due >= window_start && due < window_end) arrived++;
    if (measuring) {
      delivered++;
      note_latency(&deliveries, at - due);
    }
    if (!rate && !*reply && sender == c - clients && c->in_flight) {
      c->in_flight--;
      if (!ended) { say(c, at); c->in_flight++; }
    }
    mark += MARKED;
  }
  return mark ? mark : end > data && end[-1] == '@' ? end - 1 : end;
}

/* The same for the replies to what this client has sent. */
static const char *count_replies(struct client *c, const char *data, const char *end, double at) {
  size_t length = strlen(reply);
  const char *one = data;
  while ((one = memmem(one, end - one, reply, length)) && end - one >= REPLY_MOST) {
    char *rest;
    long number = strtol(one + length, &rest, 10);
    if (number >= FIRST_NUMBER) {
      if (!strncmp(rest, ",\"error\"", 8)) refused++;
      else if (measuring) note_latency(&replies, at - c->asked[number % SLOTS]);
      c->in_flight--;
      if (!rate && !ended) { say(c, at); c->in_flight++; }
    }
    one += length;
  }
  if (one) return one;
  for (size_t part = length - 1; part > 0; part--)
    if ((size_t)(end - data) >= part && !memcmp(end - part, reply, part)) return end - part;
  return end;
}

static void receive(struct client *c) {
  static char buffer[BUFFER + 1024];
  if (c->state == GONE) return;
  memcpy(buffer, c->carry, c->carried);
  ssize_t n = recv(c->fd, buffer + c->carried, BUFFER, 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) {
    lost++;
    epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->state != READY) fail("closed while greeting");
    c->state = GONE;
    return;
  }
  if (n < 0) return;
  size_t size = c->carried + n;
  buffer[size] = 0;
  c->carried = 0;
  if (c->state != READY) {
    if (!advance(c, buffer, size)) {
      size_t keep = size < sizeof c->carry ? size : sizeof c->carry;
      memcpy(c->carry, buffer + size - keep, keep);
      c->carried = (int)keep;
    } else if (c->state == GREETING && c->step < greeting->count) {
      /* What came with it may hold the next thing too. */
      while (c->state == GREETING && advance(c, buffer, size)) {}
    }
    return;
  }
  if (measuring) { reads++; bytes += n; }
  double at = now();
  const char *end = buffer + size, *rest = count_messages(c, buffer, end, at);
  if (*reply) {
    const char *other = count_replies(c, buffer, end, at);
    if (other < rest) rest = other;
  }
  c->carried = (int)(end - rest);
  memcpy(c->carry, rest, c->carried);
}

/* Do what there is to do, after waiting for it no longer than some seconds: to the microsecond, without spinning. */
static void turn(double wait) {
  struct epoll_event events[512];
  struct pollfd anything = {.fd = poller, .events = POLLIN};
  struct timespec most = {.tv_sec = 0, .tv_nsec = wait < 0 ? 0 : wait > 0.1 ? 100000000 : (long)(wait * 1e9)};
  int n = epoll_wait(poller, events, 512, 0);
  if (n == 0 && most.tv_nsec && ppoll(&anything, 1, &most, NULL) > 0) n = epoll_wait(poller, events, 512, 0);
  for (int i = 0; i < n; i++) {
    struct client *c = events[i].data.ptr;
    if (events[i].events & EPOLLOUT) {
      ssize_t taken = send(c->fd, c->waiting, c->waiting_size, MSG_NOSIGNAL);
      if (taken > 0) {
        memmove(c->waiting, c->waiting + taken, c->waiting_size - taken);
        c->waiting_size -= taken;
      }
      if (!c->waiting_size) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
      }
    }
    if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(c);
  }
}

static double cpu(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec / 1e6 + usage.ru_stime.tv_sec + usage.ru_stime.tv_usec / 1e6;
}

/* Senders are the first client of each of the first rooms, then the second of each, and so on: client i is in room
 * i % rooms. */
static void run(void) {
  double begun = now(), start = begun + warm, end = start + seconds, next = begun;
  window_start = start;
  window_end = end;
  uint64_t number = 0;
  if (!rate)
    for (int k = 0; k < flight; k++)
      for (int i = 0; i < senders; i++) { say(&clients[i], now()); clients[i].in_flight++; }
  double cpu_before = 0;
  for (;;) {
    double t = now();
    if (!measuring && t >= start && t < end) {
      measuring = 1;
      cpu_before = cpu();
      printf("start\n");
      fflush(stdout);
    }
    if (t >= end) break;
    if (rate)
      while (next <= t) {
        say(&clients[number++ % senders], next);
        next = begun + number / rate;
      }
    turn(rate ? next - now() : 0.1);
  }
  measuring = 0;
  ended = 1;
  double spent = cpu() - cpu_before, took = now() - start;
  printf("end\n");
  fflush(stdout);
  while (arrived < owed && now() < end + settle) turn(0.1);
  printf("{\"seconds\": %.4f, \"delivered\": %llu, \"sent\": %llu, \"reads\": %llu, \"bytes\": %llu, \"owed\": %llu, "
         "\"arrived\": %llu, \"refused\": %llu, \"lost\": %d, \"generator_cores\": %.3f, ",
         took, (unsigned long long)delivered, (unsigned long long)sent, (unsigned long long)reads,
         (unsigned long long)bytes, (unsigned long long)owed, (unsigned long long)arrived, (unsigned long long)refused,
         lost, spent / took);
  tell_latencies("deliveries", &deliveries);
  printf(", ");
  tell_latencies("replies", &replies);
  printf("}\n");
  fflush(stdout);
}

/* Open every client and play the greeting with each, some at a time. */
static void open_all(void) {
  double begun = now(), said = begun;
  opened = greeted = 0;
  while (greeted < count) {
    while (opened < count && opened - greeted < concurrency) open_one();
    turn(0.1);
    if (now() - said > 2) {
      fprintf(stderr, "load: %d of %d clients greeted\n", greeted, count);
      said = now();
    }
    if (now() - begun > GREETING_SECONDS) fail("not greeted within %d s: %d of %d", GREETING_SECONDS, count - greeted, count);
  }
}

/* Close every connection, and come back. */
static void cut(void) {
  cut_at = now();
  for (int i = 0; i < count; i++) close(clients[i].fd);
  greeting = &again;
  open_all();
  printf("back {\"seconds\": %.4f, ", now() - cut_at);
  tell_latencies("returns", &returns);
  printf("}\n");
  fflush(stdout);
}

static void hold(void) {
  char line[64];
  while (fgets(line, sizeof line, stdin) && !strcmp(line, "cut\n")) cut();
}

static char *read_file(const char *name) {
  FILE *file = fopen(name, "r");
  if (!file) fail("cannot read %s", name);
  char *text = NULL;
  size_t size = 0, used = 0;
  do {
    text = realloc(text, size += 65536);
    used += fread(text + used, 1, size - used - 1, file);
  } while (used == size - 1);
  text[used] = 0;
  fclose(file);
  return text;
}

static void read_lines(struct lines *into, const char *name) {
  for (char *line = strtok(read_file(name), "\n"); line; line = strtok(NULL, "\n")) {
    into->at = realloc(into->at, (into->count + 1) * sizeof *into->at);
    into->at[into->count++] = line;
  }
}

static void read_greeting(struct greeting *into, const char *name) {
  struct lines lines = {0};
  read_lines(&lines, name);
  if (lines.count > STEPS) fail("too long a greeting");
  memcpy(into->steps, lines.at, lines.count * sizeof *lines.at);
  into->count = lines.count;
}

static void usage(void) {
  puts("usage: load --port N [options]\n"
       "  --host A --path T --header T     where to, and headers of the handshake (templates)\n"
       "  --greeting FILE                  lines '> text' (a frame to send) and '< text' (what must come)\n"
       "  --again FILE                     the same, for those who come back after a cut\n"
       "  --tokens FILE --names FILE       one token a line, for %t; one room's name a line, for %r\n"
       "  --prefix T --suffix T            what stands around a message's payload\n"
       "  --reply T                        replies are timed, and end what is under way: T stands before their number\n"
       "  --binary                         send binary frames\n"
       "  --clients N --rooms N            client i is in room i % rooms\n"
       "  --senders N                      the first N clients send\n"
       "  --flight N                       closed loop: messages each sender has under way (default 1)\n"
       "  --rate R                         open loop: messages a second in all; otherwise closed\n"
       "  --payload N                      bytes of a message (default 128)\n"
       "  --silent N                       the last N clients stop reading after the greeting\n"
       "  --concurrency N                  handshakes under way at once (default 128)\n"
       "  --warm S --seconds S             how long before measuring, and how long to measure\n"
       "  --settle S                       how long to wait at the end for what is owed\n"
       "  --hold                           after 'ready' do what standard input says\n"
       "templates: %i client, %r room, %t token, %n payload size, %o the offset that the greeting told, %q the\n"
       "  message's number on its connection, %u an id that no other message has, %% a percent sign; \\r \\n as in C");
}

int main(int argc, char **argv) {
  static struct option options[] = {
      {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"path", 1, 0, 'P'}, {"header", 1, 0, 'H'}, {"greeting", 1, 0, 'g'},
      {"tokens", 1, 0, 't'}, {"prefix", 1, 0, 'a'}, {"suffix", 1, 0, 'z'}, {"binary", 0, 0, 'b'}, {"clients", 1, 0, 'c'},
      {"rooms", 1, 0, 'r'}, {"senders", 1, 0, 's'}, {"flight", 1, 0, 'f'}, {"rate", 1, 0, 'R'}, {"payload", 1, 0, 'n'},
      {"silent", 1, 0, 'S'}, {"concurrency", 1, 0, 'C'}, {"warm", 1, 0, 'w'}, {"seconds", 1, 0, 'T'},
      {"again", 1, 0, 'G'}, {"names", 1, 0, 'N'}, {"reply", 1, 0, 'y'}, {"settle", 1, 0, 'e'}, {"hold", 0, 0, 'o'}, {"help", 0, 0, '?'}, {0}};
  int option, held = 0;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) switch (option) {
      case 'h': host = optarg; break;
      case 'p': port = atoi(optarg); break;
      case 'P': path = optarg; break;
      case 'H': if (header_count < 8) headers[header_count++] = optarg; break;
      case 'g': read_greeting(&first, optarg); break;
      case 'G': read_greeting(&again, optarg); break;
      case 't': read_lines(&tokens, optarg); break;
      case 'N': read_lines(&names, optarg); break;
      case 'y': reply = optarg; break;
      case 'e': settle = atof(optarg); break;
      case 'a': prefix = optarg; break;
      case 'z': suffix = optarg; break;
      case 'b': binary = 1; break;
      case 'c': count = atoi(optarg); break;
      case 'r': rooms = atoi(optarg); break;
      case 's': senders = atoi(optarg); break;
      case 'f': flight = atoi(optarg); break;
      case 'R': rate = atof(optarg); break;
      case 'n': payload = atoi(optarg); break;
      case 'S': silent = atoi(optarg); break;
      case 'C': concurrency = atoi(optarg); break;
      case 'w': warm = atof(optarg); break;
      case 'T': seconds = atof(optarg); break;
      case 'o': held = 1; break;
      default: usage(); return option == '?' && optind == argc && argc == 2 ? 0 : 2;
    }
  if (!port || count < 1 || rooms < 1 || senders > count || payload < MARKED) { usage(); return 2; }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  clients = calloc(count, sizeof *clients);
  poller = epoll_create1(0);
  double begun = now();
  open_all();
  printf("ready {\"clients\": %d, \"seconds\": %.4f}\n", count, now() - begun);
  fflush(stdout);
  if (held) hold();
  else run();
  return 0;
}
