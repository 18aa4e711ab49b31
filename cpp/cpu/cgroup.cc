// A process is in one group of each hierarchy (/proc/self/cgroup), and each hierarchy is mounted
// somewhere (/proc/self/mountinfo), perhaps from a folder further down: a container without a
// namespace of its own sees its group's folder as the mount and still reads the host's path. The
// limits lie in that folder and in every one above it.
#include "cpu/cgroup.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace striate::cpu {
namespace {

// A positive number and nothing else: not "max", -1, or what does not fit.
std::optional<int64_t> positive(std::string_view word) {
  int64_t value = 0;
  const char* const end = word.data() + word.size();
  const auto [stop, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc() || stop != end || value <= 0) return std::nullopt;
  return value;
}

int cores(const std::string& quota, const std::string& period) {
  const auto granted = positive(quota), of = positive(period);
  if (!granted || !of) return kNoQuota;
  const int64_t whole = *granted / *of + (*granted % *of != 0 ? 1 : 0);
  return static_cast<int>(std::min<int64_t>(whole, kNoQuota));
}

// What one folder grants: cpu.max in v2, two files in v1.
int folder_cores(const std::string& folder) {
  std::string quota, period, quota_us, period_us;
  std::ifstream(folder + "/cpu.max") >> quota >> period;
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota_us;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period_us;
  return std::min(cores(quota, period), cores(quota_us, period_us));
}

bool lists(const std::string& names, std::string_view name) {
  std::istringstream words(names);
  for (std::string word; std::getline(words, word, ',');) {
    if (word == name) return true;
  }
  return false;
}

// Where a hierarchy is mounted, and the folder of it that is seen there.
struct Mount {
  std::string point, folder;
  bool unified;
};

// "31 23 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu"
std::vector<Mount> cpu_mounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream table(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(table, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string skipped, type, options;
    Mount mount;
    std::istringstream(line) >> skipped >> skipped >> skipped >> mount.folder >> mount.point;
    std::istringstream(line.substr(dash + 3)) >> type >> skipped >> options;
    mount.unified = type == "cgroup2";
    if (mount.unified || (type == "cgroup" && lists(options, "cpu"))) mounts.push_back(mount);
  }
  return mounts;
}

// This process's group: "0::/path" in v2, "4:cpu,cpuacct:/path" in v1; "/" where nothing says.
std::string group_of(const std::string& root, bool unified) {
  std::ifstream table(root + "/proc/self/cgroup");
  for (std::string line; std::getline(table, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1);
    if (unified ? names.empty() : lists(names, "cpu")) return line.substr(second + 1);
  }
  return "/";
}

// The group's path below the mount; empty where it lies elsewhere.
std::string below(const std::string& group, const std::string& folder) {
  if (folder == "/") return group;
  const bool inside =
      group.starts_with(folder) && (group.size() == folder.size() || group[folder.size()] == '/');
  return inside ? group.substr(folder.size()) : "";
}

}  // namespace

int cgroup_cores(const std::string& root) {
  int least = kNoQuota;
  for (const Mount& mount : cpu_mounts(root)) {
    std::string path = below(group_of(root, mount.unified), mount.folder);
    for (;;) {
      least = std::min(least, folder_cores(root + mount.point + path));
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return least;
}

}  // namespace striate::cpu
