// What a fault says: the kernel, the block, and what each of its threads was doing.
#include <cxxabi.h>
#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <stdexcept>

#include "block.h"

namespace striate::cuda_host {
namespace {

std::mutex message_lock;
std::string message;

std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

std::string text(const Where& where) {
  const std::string file = where.file_name();
  return file.substr(file.rfind('/') + 1) + ":" + std::to_string(where.line()) + ", in " +
         where.function_name();
}

// Kernels of an unnamed namespace have no names at run time: their parameters must do.
std::string name_of(const Launch& launch) {
  Dl_info info = {};
  if (dladdr(launch.kernel, &info) != 0 && info.dli_saddr == launch.kernel) {
    int status = 0;
    char* const name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    const std::string result = status == 0 ? name : info.dli_sname;
    std::free(name);
    return result;
  }
  // "... [with P = {float*, long int}; ...": GCC's words; another compiler's are shown as they are.
  const std::string text = launch.parameters;
  const std::size_t first = text.find("P = {"), last = text.find('}', first);
  if (first == std::string::npos) return text;
  return "a kernel(" + text.substr(first + 5, last - first - 5) + ")";
}

// "0-31, 64"
void append(std::string& list, unsigned first, unsigned last) {
  if (!list.empty()) list += ", ";
  list += std::to_string(first);
  if (last > first) list += "-" + std::to_string(last);
}

}  // namespace

std::string fault_message() {
  const std::lock_guard lock(message_lock);
  return message;
}

void fault(const std::string& what) { block().fault(what); }

void Block::report(const std::string& what) {
  failed_ = true;
  const std::string text = header() + who(current_) + " " + what + doings();
  const std::lock_guard lock(message_lock);
  message = text;
}

void Block::fault(const std::string& what) {
  if (!runs()) throw std::logic_error(what + " outside a kernel");
  report(what);
  throw Fault();
}

std::string Block::header() const {
  return name_of(*launch_) + ", block " + text(blockIdx) + " of " +
         text(uint3{gridDim.x, gridDim.y, gridDim.z}) + ": ";
}

std::string Block::who(unsigned thread) const {
  const bool line = blockDim.y == 1 && blockDim.z == 1;
  return "thread " + (line ? std::to_string(thread) : text(indices_[thread]));
}

std::string Block::doing(unsigned i) const {
  const Thread& thread = threads_[i];
  const Warp& warp = warps_[i / warpSize];
  if (warp.ended >> i % warpSize & 1) return "ended";
  if (i != current_ && warp.ready >> position_of_lane_[i % warpSize] & 1) {
    return thread.fibre == nullptr ? "not started" : "ready";
  }
  if (thread.state == State::runs) return "running";
  return std::string("at ") + thread.name + " (" + text(thread.where) + ")";
}

std::string Block::doings() const {
  std::map<std::string, std::string> lists;
  for (unsigned i = 0; i < count_;) {
    const std::string what = doing(i);
    unsigned last = i;
    while (last + 1 < count_ && doing(last + 1) == what) ++last;
    append(lists[what], i, last);
    i = last + 1;
  }
  std::string result;
  for (const auto& [what, threads] : lists) result += "\n  threads " + threads + ": " + what;
  return result;
}

}  // namespace striate::cuda_host
