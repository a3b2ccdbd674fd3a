// The field names of one JSON object and what they mean; only decode_json.cpp includes this.
//
// Names are looked up by guessing: the one that followed this one last time is compared first, so that events written
// in a steady order cost one comparison a field; the hash table is asked only when the guess fails. The result does not
// depend on what was guessed.
#pragma once

#include <glib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace decode
{

enum Role { REQUEST_ID, TIME, MODEL, VERSION, FEATURES, PREDICTION, SCORE, LATENCY, LABEL, FEATURE };

struct Name {
  std::string text;
  std::string quoted; // text and the closing quote as they stand in a record; empty: needs escapes, never guessed
  guint64 head = 0, mask = 0; // the first eight bytes of it, and which of them count
  Role role = FEATURE;
  guint feature = 0;
  Name *next = nullptr; // the name that came after this one last time

  void quote()
  {
    quoted = text + '"';
    size_t n = std::min(quoted.size(), sizeof head);
    std::memset(&mask, 0xff, n);
    std::memcpy(&head, quoted.data(), n);
  }
};

// The names of one object.
class Names
{
public:
  void add(const char *text, Role role, guint feature = 0)
  {
    if (text == nullptr || *text == '\0' || by_text.count(text) != 0) return; // roles are added first and win
    auto name = std::make_unique<Name>();
    name->text = text;
    if (std::strpbrk(text, "\"\\") == nullptr) name->quote();
    name->role = role;
    name->feature = feature;
    (list.empty() ? start : *list.back()).next = name.get();
    by_text.emplace(name->text, name.get());
    list.push_back(std::move(name));
  }

  // The name that begins at `raw`, if it is the guessed one. Eight bytes are readable there: the record is padded.
  static Name *guess(const Name *previous, const char *raw, const char *end)
  {
    Name *name = previous->next;
    if (name == nullptr || name->quoted.empty()) return nullptr;
    guint64 word;
    std::memcpy(&word, raw, sizeof word);
    if ((word & name->mask) != name->head) return nullptr;
    size_t size = name->quoted.size();
    if (size <= sizeof word) return name;
    if (size > static_cast<size_t>(end - raw)) return nullptr;
    return std::memcmp(raw + sizeof word, name->quoted.data() + sizeof word, size - sizeof word) == 0 ? name : nullptr;
  }

  Name *find(std::string_view text) const
  {
    auto found = by_text.find(text);
    return found == by_text.end() ? nullptr : found->second;
  }

  Name start; // comes before the first

private:
  std::vector<std::unique_ptr<Name>> list;
  std::unordered_map<std::string_view, Name *> by_text; // keys borrow from the names
};

} // namespace decode
