// One flat JSON object -> a prediction or a label. The only file of the hot path that knows simdjson.
//
// A key that comes twice: the last one counts. Fields that nobody asked for are skipped; only their UTF-8, quotes,
// brackets and depth are looked at.
#include "daemon/decode_internal.h"
#include "daemon/decode_names.hpp"

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace
{
namespace ondemand = simdjson::ondemand;
using namespace decode;

std::string_view trim(std::string_view token)
{
  while (!token.empty() &&
         (token.back() == ' ' || token.back() == '\n' || token.back() == '\r' || token.back() == '\t'))
    token.remove_suffix(1);
  return token;
}

DriftValue text_value(std::string_view text)
{
  return DriftValue{DRIFT_VALUE_TEXT, static_cast<guint32>(text.size()), 0, text.data()};
}

DriftValue number_value(double number)
{
  return DriftValue{DRIFT_VALUE_NUMBER, 0, number, nullptr};
}

const DriftValue missing_value = {DRIFT_VALUE_MISSING, 0, 0, nullptr};

} // namespace

struct _DecodeJson {
  ondemand::parser parser;
  std::vector<guint8> buffer; // the record with simdjson's padding
  gsize length = 0;
  guint n_features = 0;
  std::vector<guint8> is_numeric;
  std::vector<std::string> feature_names;
  std::vector<DriftValue> features;
  Names root, nested, label_root;
  std::string only_model, id_field, time_field, label_field, label_id_field, label_time_field;
  GError **error = nullptr; // of the call in progress
};

namespace
{

// What the fields of one record said.
struct Found {
  DriftEvent event = {missing_value, 0, 0, missing_value, NAN, NAN, nullptr};
  DriftValue label = missing_value, model = missing_value;
  bool has_time = false;
};

gsize byte_of(const _DecodeJson *json, const char *place)
{
  const char *start = reinterpret_cast<const char *>(json->buffer.data());
  return place < start ? 0 : std::min<gsize>(static_cast<gsize>(place - start), json->length);
}

DecodeReason refuse(_DecodeJson *json, DecodeReason reason, const Name *name, const char *place, const char *text)
{
  return decode_refuse(json->error, reason, name == nullptr ? nullptr : name->text.c_str(), byte_of(json, place), "%s",
                       text);
}

DecodeReason refuse_parse(_DecodeJson *json, const Name *name, const char *place, simdjson::error_code code)
{
  if (code == simdjson::DEPTH_ERROR) return refuse(json, DECODE_TOO_DEEP, name, place, "nested too deeply");
  return refuse(json, DECODE_MALFORMED, name, place, simdjson::error_message(code));
}

bool is_not_finite(std::string_view token)
{
  return decode_has_not_finite(reinterpret_cast<const guint8 *>(token.data()), std::min<size_t>(token.size(), 9));
}

// A scalar as it stands: null, a number, a text, true or false.
enum class Scalar { NOTHING, NUMBER, TEXT, TRUTH };

DecodeReason refuse_number(_DecodeJson *json, const Name *name, std::string_view token)
{
  std::string copy(trim(token));
  if (copy.find_first_not_of("+-.eE0123456789") == std::string::npos &&
      std::isinf(g_ascii_strtod(copy.c_str(), nullptr)))
    return refuse(json, DECODE_NOT_FINITE, name, token.data(), "the number is too large for a double");
  return refuse(json, DECODE_MALFORMED, name, token.data(), "not a JSON number");
}

// A text without a backslash is borrowed from the record as it stands; the first pass over the record has looked at its
// UTF-8, its control characters and its quotes.
simdjson::error_code read_text(ondemand::value &field, std::string_view token, std::string_view *text)
{
  ondemand::raw_json_string raw;
  if (std::memchr(token.data(), '\\', token.size()) != nullptr) return field.get_string().get(*text);
  simdjson::error_code code = field.get_raw_json_string().get(raw);
  if (code) return code;
  size_t close = token.rfind('"');
  if (close == 0 || close == std::string_view::npos) return simdjson::STRING_ERROR;
  *text = token.substr(1, close - 1);
  return simdjson::SUCCESS;
}

// The whole number that `digits` are, in the spelling of JSON.
bool read_whole(std::string_view digits, gint64 *whole)
{
  const char *end = digits.data() + digits.size();
  auto [at, code] = std::from_chars(digits.data(), end, *whole);
  return code == std::errc() && at == end;
}

// Eight digits at once, as bytes of a little-endian word (D. Lemire, "Number parsing at a gigabyte per second", 2021).
bool are_eight_digits(guint64 word)
{
  const guint64 high = G_GUINT64_CONSTANT(0xf0f0f0f0f0f0f0f0);
  return ((word & high) | ((word + G_GUINT64_CONSTANT(0x0606060606060606)) & high) >> 4) ==
         G_GUINT64_CONSTANT(0x3333333333333333);
}

guint64 value_of_eight_digits(guint64 word)
{
  const guint64 pairs = G_GUINT64_CONSTANT(0x000000ff000000ff);
  word -= G_GUINT64_CONSTANT(0x3030303030303030);
  word = word * 10 + (word >> 8);
  return static_cast<guint32>(((word & pairs) * G_GUINT64_CONSTANT(0x000f424000000064) +
                               (word >> 16 & pairs) * G_GUINT64_CONSTANT(0x0000271000000001)) >>
                              32);
}

bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

bool ends_value(char c)
{
  return c == ',' || c == '}' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

// The usual spelling of a number in a record, DIGITS.DIGITS without an exponent. Digits and power of ten are exact as
// doubles, so that their quotient is the nearest double (W. D. Clinger, 1990). FALSE: another spelling, or too many
// digits for that; *number untouched. `at` lies in a padded record.
bool read_plain_number(const char *at, double *number)
{
  static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                  1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
  bool negative = *at == '-';
  if (negative) at++;
  const char *start = at;
  guint64 digits = 0;
  while (is_digit(*at) && at - start < 10) digits = digits * 10 + static_cast<guint64>(*at++ - '0');
  if (at == start || *at != '.' || (*start == '0' && at - start > 1)) return false;
  const char *point = at++;
  for (int group = 0; group < 2 && at - start <= 10; group++) { // at most 19 digits in all: no overflow
    guint64 word;
    std::memcpy(&word, at, sizeof word);
    word = GUINT64_FROM_LE(word);
    if (!are_eight_digits(word)) break;
    digits = digits * 100000000 + value_of_eight_digits(word);
    at += 8;
  }
  while (is_digit(*at) && at - start < 19) digits = digits * 10 + static_cast<guint64>(*at++ - '0');
  if (at - point < 2 || digits > (G_GUINT64_CONSTANT(1) << 53) || !ends_value(*at)) return false;
  double value = static_cast<double>(digits) / powers[at - point - 1];
  *number = negative ? -value : value;
  return true;
}

// Reads a scalar; `token` gets its raw text, `value` a number or text (true and false as text).
DecodeReason read_scalar(_DecodeJson *json, const Name *name, ondemand::value &field, Scalar *kind, DriftValue *value,
                         std::string_view *token)
{
  *token = field.raw_json_token();
  char first = token->empty() ? '\0' : token->front();
  *value = missing_value;
  if (first == '"') {
    std::string_view text;
    simdjson::error_code code = read_text(field, *token, &text);
    if (code) return refuse_parse(json, name, token->data(), code);
    *kind = Scalar::TEXT;
    *value = text_value(text);
    return DECODE_OK;
  }
  if (first == '-' || is_digit(first)) {
    double number;
    if (!read_plain_number(token->data(), &number) && field.get_double().get(number))
      return is_not_finite(*token) ? refuse(json, DECODE_NOT_FINITE, name, token->data(), "Infinity is not JSON")
                                   : refuse_number(json, name, *token);
    *kind = Scalar::NUMBER;
    *value = number_value(number);
    return DECODE_OK;
  }
  if (first == '{' || first == '[')
    return refuse(json, DECODE_WRONG_TYPE, name, token->data(), "an object or list where one value belongs");
  bool truth;
  if (first == 'n' && !field.is_null().error() && trim(*token) == "null") {
    *kind = Scalar::NOTHING;
    return DECODE_OK;
  }
  if ((first == 't' || first == 'f') && !field.get_bool().get(truth)) {
    *kind = Scalar::TRUTH;
    *value = text_value(trim(*token));
    return DECODE_OK;
  }
  if (is_not_finite(*token))
    return refuse(json, DECODE_NOT_FINITE, name, token->data(), "NaN and Infinity are not JSON; send null");
  return refuse(json, DECODE_MALFORMED, name, token->data(), "not a JSON value");
}

// The common case first: a number for a numeric feature. It is written member by member into its place: a value that is
// copied as a whole right after its members were written costs a stall of the store buffer.
DecodeReason read_feature(_DecodeJson *json, const Name *name, ondemand::value &field)
{
  DriftValue *place = &json->features[name->feature];
  bool is_numeric = json->is_numeric[name->feature] != 0;
  double number;
  const char *at = field.raw_json_token().data();
  if (is_numeric && (*at == '-' || is_digit(*at)) &&
      (read_plain_number(at, &number) || !field.get_double().get(number))) {
    place->kind = DRIFT_VALUE_NUMBER;
    place->length = 0;
    place->number = number;
    place->text = nullptr;
    return DECODE_OK;
  }
  std::string_view token;
  Scalar kind;
  DriftValue value;
  DecodeReason reason = read_scalar(json, name, field, &kind, &value, &token);
  if (reason != DECODE_OK) return reason;
  if (is_numeric && kind == Scalar::TEXT)
    return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "text where a number belongs");
  if (is_numeric && kind == Scalar::TRUTH) value = number_value(token.front() == 't' ? 1 : 0);
  if (!is_numeric && kind == Scalar::NUMBER) value = text_value(trim(token));
  *place = value;
  return DECODE_OK;
}

DecodeReason read_id(_DecodeJson *json, const Name *name, ondemand::value &field, DriftValue *id)
{
  std::string_view token;
  Scalar kind;
  DriftValue value;
  DecodeReason reason = read_scalar(json, name, field, &kind, &value, &token);
  if (reason != DECODE_OK) return reason;
  if (kind == Scalar::NUMBER && trim(token).find_first_of(".eE") == std::string_view::npos)
    value = text_value(trim(token));
  else if (kind == Scalar::NUMBER || kind == Scalar::TRUTH)
    return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "neither text nor a whole number");
  if (value.kind == DRIFT_VALUE_TEXT && value.length > DECODE_MAXIMUM_ID)
    return refuse(json, DECODE_TOO_LARGE, name, token.data(), "an id longer than 512 bytes");
  if (value.kind == DRIFT_VALUE_TEXT && value.length > 0 && std::memchr(value.text, '\0', value.length) != nullptr)
    return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "an id with a NUL");
  *id = value;
  return DECODE_OK;
}

DecodeReason read_time(_DecodeJson *json, const Name *name, ondemand::value &field, Found *found)
{
  std::string_view token;
  Scalar kind;
  DriftValue value;
  DecodeReason reason = read_scalar(json, name, field, &kind, &value, &token);
  if (reason != DECODE_OK) return reason;
  found->has_time = false;
  if (kind == Scalar::NOTHING) return DECODE_OK;
  bool good = false;
  if (kind == Scalar::TEXT) {
    good = decode_time_parse(value.text, value.length, &found->event.event_time);
    if (!good)
      return refuse(json, DECODE_WRONG_TYPE, name, token.data(),
                    "not a time as in RFC 3339 with a zone (2024-01-31T23:59:59Z)");
  } else if (kind == Scalar::NUMBER) {
    gint64 whole;
    good = read_whole(trim(token), &whole) ? decode_time_from_integer(whole, &found->event.event_time)
                                           : decode_time_from_number(value.number, &found->event.event_time);
  }
  if (!good) return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "not a time between the years 1 and 9999");
  found->has_time = true;
  return DECODE_OK;
}

DecodeReason read_version(_DecodeJson *json, const Name *name, ondemand::value &field, gint64 *version)
{
  std::string_view token;
  Scalar kind;
  DriftValue value;
  DecodeReason reason = read_scalar(json, name, field, &kind, &value, &token);
  if (reason != DECODE_OK) return reason;
  *version = 0;
  if (kind == Scalar::NOTHING) return DECODE_OK;
  if (kind == Scalar::NUMBER && read_whole(trim(token), version) && *version >= 0) return DECODE_OK;
  std::string digits = kind == Scalar::TEXT ? std::string(value.text, value.length) : std::string(trim(token));
  if (kind == Scalar::TEXT && digits.empty()) return DECODE_OK;
  if (kind == Scalar::TRUTH || !g_ascii_string_to_signed(digits.c_str(), 10, 0, G_MAXINT64, version, nullptr))
    return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "not a version number");
  return DECODE_OK;
}

DecodeReason read_number(_DecodeJson *json, const Name *name, ondemand::value &field, double *number)
{
  std::string_view token;
  Scalar kind;
  DriftValue value;
  DecodeReason reason = read_scalar(json, name, field, &kind, &value, &token);
  if (reason != DECODE_OK) return reason;
  if (kind == Scalar::TEXT || kind == Scalar::TRUTH)
    return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "not a number");
  *number = kind == Scalar::NUMBER ? value.number : NAN;
  return DECODE_OK;
}

DecodeReason read_any(_DecodeJson *json, const Name *name, ondemand::value &field, DriftValue *value)
{
  std::string_view token;
  Scalar kind;
  return read_scalar(json, name, field, &kind, value, &token);
}

// A field that nobody asked for.
DecodeReason skip(_DecodeJson *json, ondemand::value &field, guint depth)
{
  std::string_view token = field.raw_json_token(), raw;
  char first = token.empty() ? '\0' : token.front();
  if (first != '{' && first != '[') {
    if (std::strchr("\"-0123456789tfn", first) != nullptr && first != '\0') return DECODE_OK;
    return is_not_finite(token)
               ? refuse(json, DECODE_NOT_FINITE, nullptr, token.data(), "NaN and Infinity are not JSON")
               : refuse(json, DECODE_MALFORMED, nullptr, token.data(), "not a JSON value");
  }
  simdjson::error_code code;
  if (first == '{') {
    ondemand::object object;
    code = field.get_object().get(object);
    if (!code) code = object.raw_json().get(raw);
  } else {
    ondemand::array array;
    code = field.get_array().get(array);
    if (!code) code = array.raw_json().get(raw);
  }
  if (code) return refuse_parse(json, nullptr, token.data(), code);
  guint left = DECODE_MAXIMUM_DEPTH - depth;
  if (decode_depth(reinterpret_cast<const guint8 *>(raw.data()), raw.size(), left) > left)
    return refuse(json, DECODE_TOO_DEEP, nullptr, token.data(), "more than 16 levels of objects and lists");
  return DECODE_OK;
}

DecodeReason read_object(_DecodeJson *json, Names *names, ondemand::object &object, guint depth, Found *found);

DecodeReason read_nested(_DecodeJson *json, const Name *name, ondemand::value &field, Found *found)
{
  std::string_view token = field.raw_json_token();
  if (!token.empty() && token.front() == 'n' && trim(token) == "null") return DECODE_OK;
  ondemand::object object;
  simdjson::error_code code = field.get_object().get(object);
  if (code == simdjson::INCORRECT_TYPE)
    return refuse(json, DECODE_WRONG_TYPE, name, token.data(), "not an object of features");
  if (code) return refuse_parse(json, name, token.data(), code);
  return read_object(json, &json->nested, object, 2, found);
}

DecodeReason read_field(_DecodeJson *json, const Name *name, ondemand::value &field, Found *found)
{
  switch (name->role) {
  case FEATURE:
    return read_feature(json, name, field);
  case REQUEST_ID:
    return read_id(json, name, field, &found->event.request_id);
  case TIME:
    return read_time(json, name, field, found);
  case MODEL:
    return read_any(json, name, field, &found->model);
  case VERSION:
    return read_version(json, name, field, &found->event.version);
  case FEATURES:
    return read_nested(json, name, field, found);
  case PREDICTION:
    return read_any(json, name, field, &found->event.prediction);
  case SCORE:
    return read_number(json, name, field, &found->event.score);
  case LATENCY:
    return read_number(json, name, field, &found->event.latency_ms);
  case LABEL:
    return read_any(json, name, field, &found->label);
  }
  return DECODE_OK;
}

DecodeReason read_object(_DecodeJson *json, Names *names, ondemand::object &object, guint depth, Found *found)
{
  const char *end = reinterpret_cast<const char *>(json->buffer.data()) + json->buffer.size();
  const char *place = reinterpret_cast<const char *>(json->buffer.data());
  Name *previous = &names->start;
  guint n_fields = 0;
  for (auto item : object) {
    simdjson::error_code code = item.error();
    if (code) return refuse_parse(json, nullptr, place, code);
    ondemand::field &field = item.value_unsafe(); // not copied: see read_feature
    place = field.key().raw();
    if (++n_fields > DECODE_MAXIMUM_FIELDS)
      return refuse(json, DECODE_TOO_MANY, nullptr, place, "more than 20000 fields in one object");
    Name *name = Names::guess(previous, place, end);
    if (name == nullptr) {
      std::string_view key;
      if ((code = field.unescaped_key().get(key))) return refuse_parse(json, nullptr, place, code);
      name = names->find(key);
      if (name != nullptr) previous->next = name;
    }
    DecodeReason reason =
        name == nullptr ? skip(json, field.value(), depth) : read_field(json, name, field.value(), found);
    if (reason != DECODE_OK) return reason;
    if (name != nullptr) previous = name;
  }
  return DECODE_OK;
}

DecodeReason copy_record(_DecodeJson *json, const guint8 *bytes, gsize length)
{
  json->length = length;
  if (length > DECODE_MAXIMUM_BYTES) {
    const char *start = reinterpret_cast<const char *>(json->buffer.data());
    json->length = 0;
    return refuse(json, DECODE_TOO_LARGE, nullptr, start, "the record is larger than 1 MiB");
  }
  if (json->buffer.size() < length + simdjson::SIMDJSON_PADDING)
    json->buffer.resize(length + simdjson::SIMDJSON_PADDING);
  if (length > 0) std::memcpy(json->buffer.data(), bytes, length);
  std::memset(json->buffer.data() + length, ' ', simdjson::SIMDJSON_PADDING);
  return DECODE_OK;
}

DecodeReason refuse_root(_DecodeJson *json, simdjson::error_code code)
{
  const char *start = reinterpret_cast<const char *>(json->buffer.data());
  if (decode_depth(json->buffer.data(), json->length, DECODE_MAXIMUM_DEPTH) > DECODE_MAXIMUM_DEPTH)
    return refuse(json, DECODE_TOO_DEEP, nullptr, start, "more than 16 levels of objects and lists");
  gsize first = 0;
  while (first < json->length && g_ascii_isspace(start[first])) first++;
  bool is_other =
      first < json->length && std::strchr("[\"-0123456789", start[first]) != nullptr && start[first] != '\0';
  if (code == simdjson::INCORRECT_TYPE && is_other)
    return refuse(json, DECODE_WRONG_TYPE, nullptr, start + first, "not a JSON object");
  return refuse_parse(json, nullptr, start, code);
}

DecodeReason read_record(_DecodeJson *json, Names *names, const guint8 *bytes, gsize length, Found *found)
{
  DecodeReason reason = copy_record(json, bytes, length);
  if (reason != DECODE_OK) return reason;
  ondemand::document document;
  ondemand::object object;
  simdjson::error_code code = json->parser.iterate(json->buffer.data(), length, json->buffer.size()).get(document);
  if (!code) code = document.get_object().get(object);
  if (code) return refuse_root(json, code);
  reason = read_object(json, names, object, 1, found);
  if (reason != DECODE_OK) return reason;
  if (!document.current_location().error())
    return refuse(json, DECODE_MALFORMED, nullptr, reinterpret_cast<const char *>(json->buffer.data()) + length,
                  "something follows the object");
  return DECODE_OK;
}

DecodeReason check_id_and_time(_DecodeJson *json, const Found &found, const std::string &id, const std::string &time)
{
  if (found.event.request_id.kind != DRIFT_VALUE_TEXT || found.event.request_id.length == 0)
    return decode_refuse(json->error, DECODE_MISSING_FIELD, id.c_str(), json->length, "is missing");
  if (!found.has_time)
    return decode_refuse(json->error, DECODE_MISSING_FIELD, time.c_str(), json->length, "is missing");
  return DECODE_OK;
}

} // namespace

DecodeJson *decode_json_new(const SettingsTraffic *settings, const SettingsFields *label_fields,
                            const DriftSchema *schema)
{
  const SettingsFields *fields = &settings->fields;
  if (label_fields == nullptr) label_fields = fields;
  auto *json = new _DecodeJson;
  json->n_features = drift_schema_n_features(schema);
  json->features.assign(json->n_features, missing_value);
  json->only_model = settings->only_model == nullptr ? "" : settings->only_model;
  json->id_field = fields->request_id;
  json->time_field = fields->time;
  json->label_field = label_fields->label;
  json->label_id_field = label_fields->request_id;
  json->label_time_field = label_fields->time;
  json->root.add(fields->request_id, REQUEST_ID);
  json->root.add(fields->time, TIME);
  if (!json->only_model.empty()) json->root.add(fields->model, MODEL);
  json->root.add(fields->version, VERSION);
  json->root.add(fields->features, FEATURES);
  json->root.add(fields->prediction, PREDICTION);
  json->root.add(fields->score, SCORE);
  json->root.add(fields->latency, LATENCY);
  for (guint i = 0; i < json->n_features; i++) {
    const DriftFeature *feature = drift_schema_get_feature(schema, i);
    json->is_numeric.push_back(feature->kind == DRIFT_NUMERIC);
    json->root.add(feature->name, FEATURE, i);
    json->nested.add(feature->name, FEATURE, i);
  }
  json->label_root.add(label_fields->request_id, REQUEST_ID);
  json->label_root.add(label_fields->label, LABEL);
  json->label_root.add(label_fields->time, TIME);
  return json;
}

void decode_json_free(DecodeJson *json)
{
  delete json;
}

DecodeReason decode_json_traffic(DecodeJson *json, const guint8 *bytes, gsize length, DriftEvent *event,
                                 gboolean *is_ours, GError **error)
{
  Found found;
  json->error = error;
  json->features.assign(json->n_features, missing_value);
  DecodeReason reason = read_record(json, &json->root, bytes, length, &found);
  if (reason != DECODE_OK) return reason;
  if (!json->only_model.empty()) {
    std::string_view model(found.model.kind == DRIFT_VALUE_TEXT ? found.model.text : "", found.model.length);
    *is_ours = model == json->only_model;
    if (!*is_ours) return DECODE_OK;
  } else {
    *is_ours = TRUE;
  }
  reason = check_id_and_time(json, found, json->id_field, json->time_field);
  if (reason != DECODE_OK) return reason;
  *event = found.event;
  event->features = json->features.data();
  return DECODE_OK;
}

DecodeReason decode_json_label(DecodeJson *json, const guint8 *bytes, gsize length, DecodedLabel *label, GError **error)
{
  Found found;
  json->error = error;
  DecodeReason reason = read_record(json, &json->label_root, bytes, length, &found);
  if (reason == DECODE_OK) reason = check_id_and_time(json, found, json->label_id_field, json->label_time_field);
  if (reason != DECODE_OK) return reason;
  if (found.label.kind == DRIFT_VALUE_MISSING)
    return decode_refuse(error, DECODE_MISSING_FIELD, json->label_field.c_str(), length, "is missing");
  *label = DecodedLabel{found.event.request_id, found.label, found.event.event_time};
  return DECODE_OK;
}
