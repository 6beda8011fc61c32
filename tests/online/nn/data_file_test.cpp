#include "online/nn/data_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "online/nn/dataset.h"
#include "online/nn/fixed_word.h"
#include "online/nn/npy.h"
#include "online/nn/zip_file.h"
#include "tests/online/nn/data_job.h"

namespace beaverpond {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string npy(const std::string& descr, const std::string& shape, const std::string& data,
                const std::string& order = "False") {
  std::string header =
      "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(header.size());
  out += '\0';
  return out + header + data;
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  std::string out;
  for (const T value : values) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out.append(bytes, sizeof(T));
  }
  return out;
}

Dataset table(const std::string& text, const Job& job = table_job()) {
  const Result<Dataset> data = read_dataset(write_test_file("table.csv", text), "", job);
  EXPECT_TRUE(data.ok()) << data.error().message;
  return data.ok() ? data.value() : Dataset();
}

std::string table_error(const std::string& text, const Job& job = table_job()) {
  const Result<Dataset> data = read_dataset(write_test_file("bad.csv", text), "", job);
  return data.ok() ? "no error" : data.error().message;
}

std::string array_error(const std::string& bytes) {
  const Result<Dataset> data = read_images(write_test_file("bad.npy", bytes), table_job());
  return data.ok() ? "no error" : data.error().message;
}

std::vector<std::uint64_t> words(const Dataset& data, std::uint32_t row, int f = 16) {
  return image_words(data, std::vector<std::uint32_t>{row}, f);
}

TEST(FixedWord, RoundsToNearestAndKnowsItsLimit) {
  EXPECT_EQ(fixed_word(1.5, 16, 46), 98304u);
  EXPECT_EQ(fixed_word(-1.5, 16, 46), std::uint64_t{0} - 98304u);
  EXPECT_EQ(fixed_word(0.5 / 65536, 16, 46), 1u);  // a half goes away from zero
  EXPECT_EQ(fixed_word(std::nextafter(0.5 / 65536, 0), 16, 46), 0u);
  EXPECT_EQ(fixed_word(-0.5 / 65536, 16, 46), UINT64_MAX);
  EXPECT_EQ(fixed_word(5e-324, 62, 62), 0u);
  EXPECT_EQ(fixed_word(-0.0, 16, 46), 0u);
  EXPECT_EQ(fixed_word(1073741823.0, 16, 46), 1073741823ull << 16);
  EXPECT_FALSE(fixed_word(1073741824.0, 16, 46).has_value());
  EXPECT_FALSE(fixed_word(1e300, 16, 46).has_value());
  EXPECT_FALSE(fixed_word(NAN, 16, 46).has_value());
  EXPECT_FALSE(fixed_word(-INFINITY, 16, 46).has_value());
  EXPECT_EQ(exact_real((1ull << 53) - 1, 48), 9007199254740991.0 / 281474976710656.0);
  EXPECT_FALSE(exact_real((1ull << 53) + 1, 48).has_value());
}

TEST(Table, ReadsQuotesLineEndsAndColumnsInAnyOrder) {
  const Dataset data = table("\xef\xbb\xbfkind,\"x,1\",y\r\n2, 1.5 ,\"-0.25\"\r\n0,+1e1,0\r\n");
  EXPECT_EQ(data.images.count, 2u);
  EXPECT_EQ(data.labels, (std::vector<std::uint32_t>{2, 0}));
  EXPECT_THAT(words(data, 0), ElementsAre(98304, std::uint64_t{0} - 16384));
  EXPECT_THAT(words(data, 1), ElementsAre(655360, 0));
  EXPECT_EQ(table("x,y,kind\n1,2,0").images.count, 1u);  // no line end at the end
  EXPECT_EQ(table("x,y,kind\n1,2,0\r\n\r\n \n\n").images.count, 1u);
}

TEST(Table, FeaturesScaledToNothingAreRefused) {
  EXPECT_THAT(table_error("x,y,kind\n1,2,0\n", table_job("label = \"kind\"\ndivide_by = 1e9")),
              HasSubstr("the largest feature is 2e-09, which is 0 with fraction_bits = 16"));
  EXPECT_EQ(table("x,y,kind\n0,0,0\n").images.count, 1u);  // zero from the start is data
}

TEST(Table, ChoosesColumnsNamesClassesAndScales) {
  const Job job = table_job(
      "label = \"kind\"\nfeatures = [\"y\", \"x\"]\nlabel_names = [\"ant\", \"bee\", "
      "\"the \\\"cat\\\"\"]\nsubtract = 1\ndivide_by = [2, 4]");
  const Dataset data = table("id,x,kind,y\nn1,5,\"the \"\"cat\"\"\",3\nn2,1,bee,2\n", job);
  EXPECT_EQ(data.labels, (std::vector<std::uint32_t>{2, 1}));
  EXPECT_THAT(words(data, 0), ElementsAre(65536, 65536));
  EXPECT_THAT(words(data, 1), ElementsAre(32768, 0));
  EXPECT_THAT(image_reals(data, std::vector<std::uint32_t>{1}, 16), ElementsAre(32768, 0));
  EXPECT_THAT(table_error("x,y,kind\n1,2,bea\n", job),
              HasSubstr("bad.csv:2: column 'kind': 'bea' is not in data.label_names "
                        "(did you mean 'bee'?)"));
  EXPECT_THAT(table_error("x,z,kind\n1,2,bee\n", job), HasSubstr("no column 'y' (data.features)"));
}

TEST(Table, EveryMistakeNamesLineAndColumn) {
  EXPECT_THAT(table_error("x,y,kind\n1,2,0\n1,2\n"), HasSubstr("bad.csv:3: 2 fields, the header"));
  EXPECT_THAT(table_error("x,y,kind\n1,2,0\n\n1,2,0\n"), HasSubstr("bad.csv:3: 1 field,"));
  EXPECT_THAT(table_error("x,y,kind\n1,,0\n"), HasSubstr("bad.csv:2: column 'y': empty"));
  EXPECT_THAT(table_error("x,y,kind\nnan,2,0\n"), HasSubstr("column 'x': 'nan' is not a finite"));
  EXPECT_THAT(table_error("x,y,kind\n1,-inf,0\n"), HasSubstr("column 'y': '-inf' is not a finite"));
  EXPECT_THAT(table_error("x,y,kind\n1,1e999,0\n"), HasSubstr("'1e999' is not a finite number"));
  EXPECT_THAT(table_error("x,y,kind\n1,2 cm,0\n"), HasSubstr("'2 cm' is not a number"));
  EXPECT_THAT(table_error("x,y,kind\n\"a\nb\",2,0\n"), HasSubstr("bad.csv:2: column 'x'"));
  EXPECT_THAT(table_error("x,y,kind\n1,2,0\n1,2e9,0\n"),
              HasSubstr("bad.csv:3: column 'y': 2e+09 is too large: with fraction_bits = 16 values "
                        "must be below 2^30"));
  EXPECT_THAT(table_error("x,y,kind\n1,2,3\n"), HasSubstr("column 'kind': '3' is no class; the "
                                                          "model's are 0..2"));
  EXPECT_THAT(table_error("x,y,kind\n1,2,-1\n"), HasSubstr("'-1' is no class"));
  EXPECT_THAT(table_error("x,x,kind\n1,2,0\n"), HasSubstr("bad.csv:1: two columns are named 'x'"));
  EXPECT_THAT(table_error("x,,kind\n1,2,0\n"), HasSubstr("a column without a name"));
  EXPECT_THAT(table_error("1,2,0\n1,2,0\n"), HasSubstr("put a line of names first"));
  EXPECT_THAT(table_error("x,y,kynd\n1,2,0\n"),
              HasSubstr("bad.csv:1: no column 'kind' (data.label) (did you mean 'kynd'?); the "
                        "columns are x, y, kynd"));
  EXPECT_THAT(table_error("x,y\n1,2\n"), HasSubstr("no column 'kind'"));
  EXPECT_THAT(table_error("x,y,z,kind\n1,2,3,0\n"), HasSubstr("choose columns with data.features"));
  EXPECT_THAT(table_error("x,y,kind\n"), HasSubstr("no rows after the header"));
  EXPECT_THAT(table_error(""), HasSubstr("empty; write a line of column names"));
  EXPECT_THAT(table_error("x,y,kind\n1,\"2,0\n"), HasSubstr("bad.csv:2: a quoted field does not"));
  EXPECT_THAT(table_error("x,y,kind\n1,\"2\"3,0\n"), HasSubstr("text after a quoted field"));
  EXPECT_THAT(table_error("x,y,kind\n1,2\"3,0\n"), HasSubstr("bad.csv:2: a quote inside"));
  EXPECT_THAT(read_dataset("/nowhere/x.csv", "", table_job()).error().message,
              HasSubstr("/nowhere/x.csv"));
}

TEST(Array, ReadsEveryTypeInEveryShape) {
  const Job job = table_job();
  const auto read = [&job](const std::string& bytes) {
    const auto data = read_images(write_test_file("good.npy", bytes), job);
    EXPECT_TRUE(data.ok()) << data.error().message;
    return data.ok() ? words(data.value(), 0) : std::vector<std::uint64_t>();
  };
  const std::uint64_t minus = std::uint64_t{0} - 131072;
  EXPECT_THAT(read(npy("|u1", "(1, 2)", "\xff\x01")), ElementsAre(65536, 257));  // bytes / 255
  EXPECT_THAT(read(npy("|i1", "(1, 2)", "\x03\xfe")), ElementsAre(196608, minus));
  EXPECT_THAT(read(npy("<u2", "(1, 2)", raw<std::uint16_t>({3, 1}))), ElementsAre(196608, 65536));
  EXPECT_THAT(read(npy("<i2", "(1, 2)", raw<std::int16_t>({3, -2}))), ElementsAre(196608, minus));
  EXPECT_THAT(read(npy("<u4", "(1, 2)", raw<std::uint32_t>({3, 1}))), ElementsAre(196608, 65536));
  EXPECT_THAT(read(npy("<i4", "(1, 2)", raw<std::int32_t>({3, -2}))), ElementsAre(196608, minus));
  EXPECT_THAT(read(npy("<u8", "(1, 2)", raw<std::uint64_t>({3, 1}))), ElementsAre(196608, 65536));
  EXPECT_THAT(read(npy("<i8", "(1, 2)", raw<std::int64_t>({3, -2}))), ElementsAre(196608, minus));
  EXPECT_THAT(read(npy("<f4", "(1, 2)", raw<float>({3, -2}))), ElementsAre(196608, minus));
  EXPECT_THAT(read(npy("<f8", "(1, 2)", raw<double>({3, -2}))), ElementsAre(196608, minus));
  EXPECT_THAT(read(npy("<f8", "(1, 1, 1, 2)", raw<double>({3, -2}))), ElementsAre(196608, minus));
  Job images = job;
  images.model.height = 2;
  images.model.channels = 1;
  const std::string path =
      write_test_file("images.npy", npy("|u1", "(2, 2, 1)", std::string("\0\1\2\3", 4)));
  ASSERT_TRUE(read_images(path, images).ok());
  EXPECT_THAT(read_images(path, images)->images.pixels, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(read_images(path, job).error().message,
              HasSubstr("rows of 2x1x1, the model takes 2 values"));
  images.data.divide_by = {2};  // bytes of scaled data are themselves, not / 255
  EXPECT_THAT(words(read_images(path, images).value(), 1), ElementsAre(65536, 98304));
}

TEST(Array, RefusesWhatItCannotRead) {
  const std::string two = raw<double>({1, 2});
  EXPECT_THAT(array_error(npy(">f8", "(1, 2)", two)), HasSubstr("type '>f8' is not read"));
  EXPECT_THAT(array_error(npy("<c8", "(1, 2)", two)), HasSubstr("type '<c8' is not read"));
  EXPECT_THAT(array_error(npy("|O", "(1, 2)", two)), HasSubstr("type '|O' is not read"));
  EXPECT_THAT(array_error(npy("<f8", "(1, 2)", two, "True")), HasSubstr("Fortran order"));
  EXPECT_THAT(array_error(npy("<f8", "(1, 2)", raw<double>({1}))), HasSubstr("truncated"));
  EXPECT_THAT(array_error(npy("<f8", "(1, 2)", two + "x")), HasSubstr("the file holds 17 bytes"));
  EXPECT_THAT(array_error(npy("<f8", "(0, 2)", "")), HasSubstr("holds nothing"));
  EXPECT_THAT(array_error(npy("<f8", "(4294967296, 4294967296, 4)", two)), HasSubstr("truncated"));
  EXPECT_THAT(array_error(npy("<f8", "(99999999999999999999, 2)", two)), HasSubstr("its header"));
  EXPECT_THAT(array_error(npy("<f8", "(2,)", two)), HasSubstr("give [rows, features]"));
  EXPECT_THAT(array_error(npy("<f8", "(2, 1)", two)), HasSubstr("rows of 1 values, the model"));
  EXPECT_THAT(array_error(npy("<f8", "(1, 2)", raw<double>({1, NAN}))),
              HasSubstr("bad.npy: row 0, column 1: NaN or infinite"));
  EXPECT_THAT(array_error(npy("<f8", "(1, 2)", raw<double>({1, -1e30}))),
              HasSubstr("row 0, column 1: -1e+30 is too large"));
  EXPECT_THAT(array_error("no array at all"), HasSubstr("no magic"));
  EXPECT_THAT(array_error(""), HasSubstr("no magic"));
  EXPECT_THAT(array_error(npy("<f8", "(1, 2)", two).substr(0, 40)), HasSubstr("header"));
}

TEST(Array, ArchivesNameTheirMembers) {
  const Job job = table_job();
  const std::string x = npy("<f4", "(2, 2)", raw<float>({1, 2, 3, 4}));
  const std::string y = npy("<i8", "(2,)", raw<std::int64_t>({2, 1}));
  const Result<std::string> both = encode_zip({{"x.npy", x}, {"y.npy", y}});
  ASSERT_TRUE(both.ok()) << both.error().message;
  EXPECT_EQ(both.value(), encode_zip({{"x.npy", x}, {"y.npy", y}}).value());
  const std::string path = write_test_file("both.npz", both.value());
  const auto data = read_dataset(path + ":x", path + ":y", job);
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(data->labels, (std::vector<std::uint32_t>{2, 1}));
  EXPECT_THAT(words(data.value(), 1), ElementsAre(196608, 262144));
  EXPECT_THAT(read_images(path, job).error().message, HasSubstr("holds 2 arrays (x, y); name one"));
  EXPECT_THAT(read_images(path + ":z", job).error().message, HasSubstr("no array 'z'; it holds x"));
  const std::string single = write_test_file("one.npz", encode_zip({{"a.npy", x}}).value());
  EXPECT_TRUE(read_images(single, job).ok());
  const std::string cut = write_test_file("cut.npz", both->substr(0, both->size() - 30));
  EXPECT_THAT(read_images(cut, job).error().message, HasSubstr("not an .npz archive"));
  std::string flipped = both.value();
  flipped[flipped.find(x) + x.size() - 1] ^= 1;  // its sum no longer fits
  EXPECT_FALSE(read_images(write_test_file("flipped.npz", flipped) + ":x", job).ok());
}

TEST(Array, LabelsAreIntegersBelowTheClasses) {
  const Job job = table_job();
  const auto error = [&job](const std::string& bytes) {
    const auto labels = read_label_file(write_test_file("labels.npy", bytes), job);
    return labels.ok() ? std::string("no error") : labels.error().message;
  };
  EXPECT_EQ(error(npy("|u1", "(2, 1)", "\x01\x02")), "no error");
  EXPECT_THAT(error(npy("|u1", "(2,)", "\x01\x03")), HasSubstr("row 1: label 3 is no class"));
  EXPECT_THAT(error(npy("|i1", "(2,)", "\x01\xff")), HasSubstr("row 1: label -1 is no class"));
  EXPECT_THAT(error(npy("<f8", "(1,)", raw<double>({1}))), HasSubstr("array of integers"));
  EXPECT_THAT(error(npy("|u1", "(1, 2)", "\x01\x01")), HasSubstr("labels are a [rows] array"));
}

TEST(TableJob, FieldsAreCheckedAgainstTheModel) {
  const auto error = [](const std::string& format, const std::string& a = "a.csv") {
    const Result<Job> job = parse_job(table_job_text(format, a), "job.toml");
    return job.ok() ? std::string("no error") : job.error().message;
  };
  const std::string label = "label = \"kind\"\n";
  EXPECT_EQ(error(label + "test_data = \"t.csv\""), "no error");
  EXPECT_THAT(error(""), HasSubstr("no column holds the class; name it with data.label"));
  EXPECT_THAT(error(label + "label_names = [\"a\"]"), HasSubstr("1 names for 3 classes"));
  EXPECT_THAT(error(label + "label_names = [\"a\", \"b\", \"a\"]"), HasSubstr("listed twice"));
  EXPECT_THAT(error(label + "features = [\"x\"]"), HasSubstr("1 columns for a model.input of 2"));
  EXPECT_THAT(error(label + "features = [\"x\", \"kind\"]"), HasSubstr("remove it there"));
  EXPECT_THAT(error(label + "divide_by = [1, 2, 3]"), HasSubstr("3 numbers for 2 channels"));
  EXPECT_THAT(error(label + "divide_by = 0"), HasSubstr("division by zero"));
  EXPECT_THAT(error(label + "subtract = [\"x\"]"), HasSubstr("expected numbers, found a string"));
  EXPECT_THAT(error(label + "subtract = nan"), HasSubstr("not a number below 1e15"));
  EXPECT_THAT(error(label + "divide = 3"), HasSubstr("unknown"));
  EXPECT_THAT(error(label, "a.npy"), HasSubstr("is not a .csv file"));
  EXPECT_THAT(error(label + "test_data = \"t.csv\"\ntest_labels = \"l\""),
              HasSubstr("given together with test_images or test_labels"));
}

}  // namespace
}  // namespace beaverpond
