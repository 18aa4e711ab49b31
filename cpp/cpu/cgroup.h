// The CPU quota of a container, as Linux tells it.
#pragma once

#include <string>

namespace striate::cpu {

constexpr int kNoQuota = 1 << 20;

/// Cores' worth of time that this process's control group and those around it grant, rounded up:
/// the tightest of all, in cgroup v2 and v1; kNoQuota where nothing limits it.
///
/// `root` stands before every path: a test has a tree of its own.
int cgroup_cores(const std::string& root = "");

}  // namespace striate::cpu
