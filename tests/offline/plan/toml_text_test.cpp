// What is refused before toml++ sees it.
#include "offline/plan/toml_text.h"

#include <gtest/gtest.h>

namespace beaverpond {
namespace {

#define LETTER "\xef\xbb\xbb"  // U+FEFB, at which toml++ runs into a hole of its table

TEST(TomlText, NamesTheLineOfACharacterThatIsNotAscii) {
  const auto refused = check_toml_text("a = 1\nh" LETTER " = 2\n", "x.toml");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kConfig);
  EXPECT_NE(refused.error().message.find("x.toml:2: "), std::string::npos);
}

TEST(TomlText, StringsAndCommentsMayHoldAnything) {
  for (const char* text :
       {"", "\xef\xbb\xbf# a byte order mark", "# " LETTER "\na = 1", R"(a = "\"é")", R"(a = '\é')",
        "a = \"\"\"x\"\n" LETTER "\"\"\"\"", "a = ''' '" LETTER "\n'''"}) {
    EXPECT_TRUE(check_toml_text(text, "x.toml").ok()) << text;
  }
}

TEST(TomlText, WhatLooksLikeAStringIsNotOne) {
  for (const char* text :
       {"a = \"\" " LETTER, R"(a = '\' é)", "a = \"\"\"\"\"\" " LETTER, "a = \"x\n" LETTER,
        "# x\n" LETTER, "a = \"\"\"x\\\"\"\"\" " LETTER, "x\xef\xbb\xbf"}) {
    EXPECT_FALSE(check_toml_text(text, "x.toml").ok()) << text;
  }
}

}  // namespace
}  // namespace beaverpond
