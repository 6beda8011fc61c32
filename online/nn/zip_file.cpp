#include "online/nn/zip_file.h"

#include <zip.h>

#include <algorithm>
#include <memory>

namespace beaverpond {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 16;
constexpr std::size_t kMaxMemberBytes = std::size_t{1} << 33;
constexpr int kMaxMembers = 1 << 16;
constexpr std::uint16_t kDosDate1980 = 1 << 5 | 1;  // the first day of zip's calendar

struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
  void operator()(zip_source_t* source) const { zip_source_free(source); }
};
using Archive = std::unique_ptr<zip_t, Discard>;

Error zip_failure(const std::string& file, const std::string& what, const std::string& why) {
  return make_error(ErrorCode::kConfig, file + ": " + what + ": " + why + "; write it again");
}

Result<Archive> open_archive(std::string_view bytes, const std::string& file) {
  zip_error_t error;
  zip_error_init(&error);
  zip_source_t* source = zip_source_buffer_create(bytes.data(), bytes.size(), 0, &error);
  zip_t* archive = source == nullptr ? nullptr : zip_open_from_source(source, ZIP_RDONLY, &error);
  const std::string why = zip_error_strerror(&error);
  zip_error_fini(&error);
  if (archive == nullptr) {
    if (source != nullptr) zip_source_free(source);
    return zip_failure(file, "not an .npz archive", why);
  }
  return Archive(archive);
}

}  // namespace

Result<std::vector<std::string>> zip_names(std::string_view archive, const std::string& file) {
  BP_ASSIGN(const Archive open, open_archive(archive, file));
  std::vector<std::string> names;
  const zip_int64_t count = zip_get_num_entries(open.get(), 0);
  if (count > kMaxMembers) return zip_failure(file, "damaged", "too many members");
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(open.get(), static_cast<zip_uint64_t>(i), 0);
    if (name == nullptr) return zip_failure(file, "damaged", zip_strerror(open.get()));
    names.emplace_back(name);
  }
  return names;
}

Result<std::string> read_zip_member(std::string_view archive, const std::string& name,
                                    const std::string& file) {
  BP_ASSIGN(const Archive open, open_archive(archive, file));
  const std::unique_ptr<zip_file_t, Discard> member(zip_fopen(open.get(), name.c_str(), 0));
  if (member == nullptr) {
    return zip_failure(file, "cannot read " + name, zip_strerror(open.get()));
  }
  std::string bytes;
  // Grown chunk by chunk: a directory that lies about its sizes must not cost gigabytes.
  for (;;) {
    const std::size_t have = bytes.size();
    if (have > kMaxMemberBytes) return zip_failure(file, name, "more than 8 GiB");
    bytes.resize(have + std::max(kChunkBytes, have / 2));
    const zip_int64_t got = zip_fread(member.get(), bytes.data() + have, bytes.size() - have);
    if (got < 0) return zip_failure(file, name, zip_file_strerror(member.get()));
    bytes.resize(have + static_cast<std::size_t>(got));
    if (got == 0) return bytes;
  }
}

Result<std::string> encode_zip(const std::vector<ZipMember>& members) {
  const Error no_memory = make_error(ErrorCode::kOutOfMemory, "no memory for an .npz archive");
  // Kept beyond the archive, which takes the other reference.
  const std::unique_ptr<zip_source_t, Discard> target(
      zip_source_buffer_create(nullptr, 0, 0, nullptr));
  if (target == nullptr) return no_memory;
  zip_source_keep(target.get());
  Archive archive(zip_open_from_source(target.get(), ZIP_TRUNCATE, nullptr));
  if (archive == nullptr) {
    zip_source_free(target.get());
    return no_memory;
  }
  for (const ZipMember& member : members) {
    zip_source_t* source =
        zip_source_buffer(archive.get(), member.bytes.data(), member.bytes.size(), 0);
    if (source == nullptr) return no_memory;
    const zip_int64_t index =
        zip_file_add(archive.get(), member.name.c_str(), source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
      zip_source_free(source);
      return make_error(ErrorCode::kIo, member.name + ": " + zip_strerror(archive.get()));
    }
    const auto at = static_cast<zip_uint64_t>(index);
    zip_set_file_compression(archive.get(), at, ZIP_CM_STORE, 0);
    zip_file_set_dostime(archive.get(), at, 0, kDosDate1980, 0);
  }
  if (zip_close(archive.get()) != 0) {
    return make_error(ErrorCode::kIo, std::string(".npz: ") + zip_strerror(archive.get()));
  }
  static_cast<void>(archive.release());  // zip_close freed it
  zip_stat_t stat;
  zip_stat_init(&stat);
  if (zip_source_stat(target.get(), &stat) != 0 || (stat.valid & ZIP_STAT_SIZE) == 0 ||
      zip_source_open(target.get()) != 0) {
    return no_memory;
  }
  std::string bytes(stat.size, '\0');
  const zip_int64_t got = zip_source_read(target.get(), bytes.data(), bytes.size());
  zip_source_close(target.get());
  if (got != static_cast<zip_int64_t>(bytes.size())) return no_memory;
  return bytes;
}

}  // namespace beaverpond
