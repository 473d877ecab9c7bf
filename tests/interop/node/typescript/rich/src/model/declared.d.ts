export interface OnlyAType {
    name: string;
}
