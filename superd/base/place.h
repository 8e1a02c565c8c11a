// SPDX-License-Identifier: MIT
#pragma once
// A place in a map that is taken before its key is known, and filled when nothing may fail any more.

#include <utility>

namespace superd {

/// For objects keyed by a pid: memory may run out before the process exists, but not afterwards. Nothing else is added
/// to the map until take().
template <class Map>
class Place {
  public:
    explicit Place(Map& map) : map_(map), node_(map.extract(map.try_emplace({}).first)) {}
    typename Map::mapped_type& take(typename Map::key_type key, typename Map::mapped_type&& value) noexcept {
        node_.key() = key;
        node_.mapped() = std::move(value);
        return map_.insert(std::move(node_)).position->second;
    }

  private:
    Map& map_;
    typename Map::node_type node_;
};

}  // namespace superd
