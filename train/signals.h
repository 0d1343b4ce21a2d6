// Signals as requests that the training loop looks at once per step. Handlers only set lock-free
// atomics (SEI CERT SIG30-C).
#pragma once

namespace proxent {

// SIGINT and SIGTERM ask for a stop after the present step, or out of an evaluation, with a
// checkpoint and exit code 75; a second SIGINT ends the process at once with 130. SIGUSR1 and
// SIGHUP ask for a checkpoint. SIGPIPE is ignored: a pager that was closed must not end a long run.
// While the object lives; one inside another (a run of several) changes nothing, so that a signal
// between two runs is not lost.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;
};

bool stop_requested();
// Breaks off what a stop cannot wait for, such as an evaluation. Not an error: not std::exception.
struct StopRequested {};
void throw_if_stop_requested();
// The signal's name, "SIGTERM"; empty if none came.
const char* stop_reason();
// Whether a checkpoint was asked for since the last call.
bool take_save_request();

}  // namespace proxent
