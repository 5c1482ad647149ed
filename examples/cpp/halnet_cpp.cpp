// Prints the age of each face as a line of JSON. README.md beside this file describes its use.
#include "halnet.hpp"

#include <chrono>
#include <iomanip>
#include <iostream>
#include <map>
#ifdef HALNET_OPENCV
#include <opencv2/core/utils/logger.hpp>
#endif

namespace {

using halnet::Error;
using halnet::kCropBytes;

constexpr int kNoFace = 1, kBadInput = 2;  // exit status
constexpr auto kUsage =
    "usage: halnet_cpp MODEL CROPS.u8 [OPTIONS] or halnet_cpp MODEL PHOTO YUNET [OPTIONS]; "
    "the options are --level 0.9, --at-least 18, --threads N and --time N";

struct Option {
    double value, low, high;  // a whole number, unless `high` is below 1

    void parse(const std::string& name, const std::string& text) {
        std::istringstream stream(text);
        const bool is_share = high < 1, is_number = (stream >> value) && stream.eof();
        if (is_number && value >= low && value <= high && (is_share || value == std::floor(value)))
            return;
        std::ostringstream message;
        message << name << ": expected a " << (is_share ? "" : "whole ") << "number from " << low
                << " to " << high << ", found " << text;
        throw Error(message.str());
    }
};

template <class Values>
std::string json(const Values& values) {
    std::ostringstream text;
    text << std::setprecision(9);
    for (std::size_t i = 0; i < values.size(); ++i) text << (i ? ", " : "[") << values[i];
    return text.str() + "]";
}

// The crops of N faces and, for those of a photo, where they are.
struct Inputs {
    std::vector<std::uint8_t> crops;  // N x 224 x 224 x 3
    std::vector<std::string> places;  // N parts of a line of JSON
};

#ifdef HALNET_OPENCV
Inputs read_picture(const std::string& path, const std::string& yunet, int threads) {
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    const cv::Mat photo = halnet::read_photo(path);
    Inputs inputs;
    for (const auto& face : halnet::Detector(yunet, threads).detect(photo)) {
        const cv::Mat crop = halnet::align(photo, face);
        inputs.crops.insert(inputs.crops.end(), crop.datastart, crop.dataend);
        const std::array box{face.box.x, face.box.y, face.box.width, face.box.height};
        inputs.places.push_back(", \"score\": " + std::to_string(face.score) + ", \"box\": " + json(box));
    }
    return inputs;
}
#endif

Inputs read_crops(const std::string& path) {
    auto crops = halnet::read_file(path);
    const auto bytes = crops.size();
    if (crops.empty() || bytes % kCropBytes)
        throw Error(path + ": expected crops of 224 x 224 x 3 = " + std::to_string(kCropBytes) +
                    " bytes, found " + std::to_string(bytes) + " bytes");
    return {std::move(crops), std::vector<std::string>(bytes / kCropBytes)};
}

// Returns the median time of a crop in milliseconds.
double measure(halnet::Model& model, const std::uint8_t* crop, std::size_t repeats) {
    using clock = std::chrono::steady_clock;
    std::vector<double> times(repeats);
    for (int warm_up = 0; warm_up < 10; ++warm_up) model.predict(crop);
    for (double& time : times) {
        const auto start = clock::now();
        model.predict(crop);
        time = std::chrono::duration<double, std::milli>(clock::now() - start).count();
    }
    std::sort(times.begin(), times.end());
    return times[repeats / 2];
}

int run(const std::vector<std::string>& words) {
    Option level{0.9, 0.01, 0.99}, years{18, 0, 100}, threads{0, 1, 1024}, repeats{0, 1, 1e5};
    const std::map<std::string, Option*> options{{"--level", &level}, {"--at-least", &years},
                                                 {"--threads", &threads}, {"--time", &repeats}};
    std::vector<std::string> files;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto option = options.find(words[i]);
        if (option == options.end()) files.push_back(words[i]);
        else if (i + 1 < words.size()) option->second->parse(words[i], words[i + 1]), ++i;
        else throw Error(words[i] + ": a number is missing");
    }
    const bool is_photo = files.size() == 3;
    if (files.size() != 2 && !is_photo) throw Error(kUsage);
    halnet::Model model(files[0], static_cast<int>(threads.value));
#ifdef HALNET_OPENCV
    const Inputs inputs = is_photo ? read_picture(files[1], files[2], static_cast<int>(threads.value))
                                   : read_crops(files[1]);
#else
    if (is_photo) throw Error(files[1] + ": this program was built without OpenCV and reads crops only");
    const Inputs inputs = read_crops(files[1]);
#endif
    for (std::size_t i = 0; i < inputs.places.size(); ++i) {
        const std::uint8_t* crop = inputs.crops.data() + i * kCropBytes;
        const halnet::Age age = model.predict(crop);
        const double above = model.calibration->at_least(age, static_cast<std::size_t>(years.value));
        std::cout << std::setprecision(9) << "{\"age\": " << age.years << ", \"stddev\": " << age.stddev
                  << ", \"interval\": " << json(model.calibration->interval(age, level.value))
                  << ", \"at_least\": " << above << inputs.places[i]
                  << ", \"probabilities\": " << json(age.probabilities) << "}\n";
        if (repeats.value > 0) std::cerr << measure(model, crop, static_cast<std::size_t>(repeats.value)) << " ms per crop\n";
    }
    if (inputs.places.empty()) std::cerr << files[1] << ": no face was found\n";
    return inputs.places.empty() ? kNoFace : 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return halnet::in_one_line("halnet_cpp", [&] { return run({arguments + 1, arguments + count}); });
    } catch (const Error& error) {
        std::cerr << error.what() << '\n';
        return kBadInput;
    }
}
