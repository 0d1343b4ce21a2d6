#include "train/signals.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "train/exit_code.h"

namespace proxent {
namespace {

std::atomic<int> stop_signal{0};
std::atomic<bool> save_request{false};
int guards = 0;  // alive
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

constexpr std::array kHandled = {SIGINT, SIGTERM, SIGUSR1, SIGHUP, SIGPIPE};
std::array<struct sigaction, kHandled.size()> previous;

extern "C" void on_signal(int number) {
  if (number == SIGPIPE) return;
  if (number == SIGUSR1 || number == SIGHUP) {
    save_request.store(true);
    return;
  }
  if (number == SIGINT && stop_signal.load() == SIGINT) _exit(kInterrupted);
  stop_signal.store(number);
}

}  // namespace

SignalGuard::SignalGuard() {
  if (guards++ > 0) return;
  stop_signal.store(0);
  save_request.store(false);
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // a signal must not break a read or write
  for (std::size_t i = 0; i < kHandled.size(); ++i) sigaction(kHandled[i], &action, &previous[i]);
}

SignalGuard::~SignalGuard() {
  if (--guards > 0) return;
  for (std::size_t i = 0; i < kHandled.size(); ++i) sigaction(kHandled[i], &previous[i], nullptr);
}

bool stop_requested() { return stop_signal.load() != 0; }

void throw_if_stop_requested() {
  if (stop_requested()) throw StopRequested();
}

const char* stop_reason() {
  switch (stop_signal.load()) {
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    default:
      return "";
  }
}

bool take_save_request() { return save_request.exchange(false); }

}  // namespace proxent
